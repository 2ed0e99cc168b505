//! The two stores, which the other tests break on purpose.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use latchkey_dev::{Error, Stack};

use super::{
    Place, eventually,
    processes::{all_gone, descendants},
    psql,
};

fn socket_folder(stack: &Stack) -> PathBuf {
    let url = stack.redis.url();
    Path::new(url.trim_start_matches("redis+unix://"))
        .parent()
        .expect("a folder holds it")
        .to_owned()
}

/// For an answer that must come, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// For one that must not.
const MOMENT: Duration = Duration::from_millis(300);

/// What a server says to `question` within this time.
fn ask<const N: usize>(socket: &Path, question: &[u8], limit: Duration) -> Option<[u8; N]> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(question).ok()?;
    let mut answer = [0; N];
    stream.read_exact(&mut answer).ok().map(|()| answer)
}

fn redis_answers(stack: &Stack, limit: Duration) -> bool {
    ask(&socket_folder(stack).join("redis.sock"), b"PING\r\n", limit) == Some(*b"+PONG")
}

/// A request for TLS is the shortest question there is; on a socket the answer is no.
fn postgres_answers(stack: &Stack, limit: Duration) -> bool {
    ask(
        &socket_folder(stack).join(".s.PGSQL.5432"),
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        limit,
    ) == Some(*b"N")
}

fn both_answer(stack: &Stack) -> bool {
    redis_answers(stack, PATIENCE) && postgres_answers(stack, PATIENCE)
}

fn neither_answers(stack: &Stack) -> bool {
    !redis_answers(stack, MOMENT) && !postgres_answers(stack, MOMENT)
}

/// In the database that the tests keep.
fn kept(stack: &Stack, statement: &str) -> String {
    psql(&stack.postgres.url("kept"), statement)
}

#[test]
fn data_survive_a_restart() {
    let folder = Place::new();
    let directory = folder.path().join("data");
    let stack = Stack::persistent(&directory).unwrap();
    stack.postgres.create_database("kept").unwrap();
    stack
        .postgres
        .create_database("kept")
        .expect("a second time does no harm");
    kept(&stack, "create table kept as select 42 as answer");
    let redis = |question: &[u8]| {
        ask(
            &socket_folder(&stack).join("redis.sock"),
            question,
            PATIENCE,
        )
    };
    assert_eq!(redis(b"SET kept 42\r\n"), Some(*b"+OK\r\n"));
    drop(stack);
    let stack = Stack::persistent(&directory).unwrap();
    assert_eq!(kept(&stack, "select answer from kept"), "42");
    let found = ask(
        &socket_folder(&stack).join("redis.sock"),
        b"GET kept\r\n",
        PATIENCE,
    );
    assert_eq!(found, Some(*b"$2\r\n42"));
}

#[test]
fn a_pid_file_of_somebody_else_does_not_stop_the_start() {
    let folder = Place::new();
    drop(Stack::persistent(folder.path()).unwrap());
    let noted = fs::read_to_string(folder.path().join("data-is-in"));
    let data = noted.map_or(folder.path().to_owned(), |path| {
        PathBuf::from(path.trim_end())
    });
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    for pid in [std::process::id(), dead.id()] {
        let file = data.join("postgres/postmaster.pid");
        fs::write(
            &file,
            format!(
                "{pid}\n{}\n0\n5432\n/tmp\n\n  0  0\nready   \n",
                data.join("postgres").display()
            ),
        )
        .unwrap();
        drop(Stack::persistent(folder.path()).unwrap());
    }
}

#[test]
fn stores_pause_and_resume() {
    let stack = Stack::temporary().unwrap();
    assert!(both_answer(&stack));
    stack.redis.pause();
    stack.postgres.pause();
    assert!(neither_answers(&stack));
    stack.redis.resume();
    stack.postgres.resume();
    eventually("both answer", || both_answer(&stack));
}

#[test]
fn stores_are_killed_and_start_again() {
    let mut stack = Stack::temporary().unwrap();
    stack.postgres.create_database("kept").unwrap();
    kept(&stack, "create table kept as select 42 as answer");
    for pause_first in [false, true] {
        if pause_first {
            stack.postgres.pause();
            stack.redis.pause();
        }
        let family = descendants(stack.postgres.pid());
        stack.postgres.kill();
        stack.redis.kill();
        assert!(all_gone(&family) && neither_answers(&stack));
        stack.postgres.start_again().unwrap();
        stack.redis.start_again().unwrap();
        assert!(both_answer(&stack));
        assert_eq!(
            kept(&stack, "select answer from kept"),
            "42",
            "what was committed is there"
        );
    }
}

#[test]
fn a_stopped_store_starts_again() {
    let mut stack = Stack::temporary().unwrap();
    stack.postgres.stop();
    stack.redis.stop();
    assert!(neither_answers(&stack));
    stack.postgres.start_again().unwrap();
    stack.redis.start_again().unwrap();
    assert!(both_answer(&stack));
}

#[test]
fn a_stack_outlives_the_thread_that_started_it() {
    let stack = thread::spawn(Stack::temporary).join().unwrap().unwrap();
    // The kernel sends the signal while the thread ends: a stack that does not outlive it is gone
    // by now.
    assert!(both_answer(&stack));
    stack.postgres.create_database("kept").unwrap();
    assert_eq!(kept(&stack, "select 1"), "1");
}

#[test]
fn nothing_of_a_temporary_stack_stays() {
    let stack = Stack::temporary().unwrap();
    let folder = socket_folder(&stack);
    let pids = [stack.postgres.pid(), stack.redis.pid()];
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    drop(stack);
    assert!(!folder.exists() && all_gone(&pids));
}

#[test]
fn folders_of_killed_runs_are_swept_and_those_of_living_ones_are_not() {
    let stale = PathBuf::from(format!("/tmp/latchkey-stale{}", std::process::id()));
    let _ = fs::DirBuilder::new().mode(0o700).create(&stale);
    fs::write(stale.join("lock"), "").unwrap();
    let first = Stack::temporary().unwrap();
    let second = Stack::temporary().unwrap();
    assert!(!stale.exists());
    assert!(both_answer(&first));
    assert!(both_answer(&second));
}

#[test]
fn a_database_name_is_no_place_for_sql() -> Result<(), Error> {
    let stack = Stack::temporary()?;
    let error = stack
        .postgres
        .create_database("x'; drop database postgres; --")
        .unwrap_err();
    assert!(error.to_string().contains("lower case"), "{error}");
    Ok(())
}
