//! Tests of the two stores, which other tests use to inject faults.

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
    TestFolder, eventually,
    processes::{descendants, have_exited},
    psql,
};

fn socket_folder(stack: &Stack) -> PathBuf {
    let url = stack.redis.url();
    Path::new(url.trim_start_matches("redis+unix://"))
        .parent()
        .expect("a parent folder")
        .to_owned()
}

/// Timeout of an expected response, long enough for a busy machine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time without a response after which a store counts as paused.
const SILENT_PERIOD: Duration = Duration::from_millis(300);

/// Sends a request, and returns the first `N` bytes of the response, or `None` after the timeout.
fn send_request<const N: usize>(socket: &Path, request: &[u8], limit: Duration) -> Option<[u8; N]> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(request).ok()?;
    let mut response = [0; N];
    stream.read_exact(&mut response).ok().map(|()| response)
}

fn redis_responds(stack: &Stack, limit: Duration) -> bool {
    send_request(&socket_folder(stack).join("redis.sock"), b"PING\r\n", limit) == Some(*b"+PONG")
}

/// Sends an `SSLRequest`, the shortest request. On a Unix socket PostgreSQL responds with `N`.
fn postgres_responds(stack: &Stack, limit: Duration) -> bool {
    send_request(
        &socket_folder(stack).join(".s.PGSQL.5432"),
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        limit,
    ) == Some(*b"N")
}

fn both_respond(stack: &Stack) -> bool {
    redis_responds(stack, RESPONSE_TIMEOUT) && postgres_responds(stack, RESPONSE_TIMEOUT)
}

fn none_responds(stack: &Stack) -> bool {
    !redis_responds(stack, SILENT_PERIOD) && !postgres_responds(stack, SILENT_PERIOD)
}

/// Runs a statement in the database `kept`.
fn run_in_kept(stack: &Stack, statement: &str) -> String {
    psql(&stack.postgres.url("kept"), statement)
}

#[test]
fn data_survive_a_restart() {
    let folder = TestFolder::new();
    let directory = folder.path().join("data");
    let stack = Stack::persistent(&directory).unwrap();
    stack.postgres.create_database("kept").unwrap();
    stack
        .postgres
        .create_database("kept")
        .expect("no error for an existing database");
    run_in_kept(&stack, "create table kept as select 42 as value");
    let redis = |request: &[u8]| {
        send_request(
            &socket_folder(&stack).join("redis.sock"),
            request,
            RESPONSE_TIMEOUT,
        )
    };
    assert_eq!(redis(b"SET kept 42\r\n"), Some(*b"+OK\r\n"));
    drop(stack);
    let stack = Stack::persistent(&directory).unwrap();
    assert_eq!(run_in_kept(&stack, "select value from kept"), "42");
    let found = send_request(
        &socket_folder(&stack).join("redis.sock"),
        b"GET kept\r\n",
        RESPONSE_TIMEOUT,
    );
    assert_eq!(found, Some(*b"$2\r\n42"));
}

#[test]
fn start_ignores_pid_file_of_unrelated_process() {
    let folder = TestFolder::new();
    drop(Stack::persistent(folder.path()).unwrap());
    let location = fs::read_to_string(folder.path().join("data-is-in"));
    let data = location.map_or(folder.path().to_owned(), |path| {
        PathBuf::from(path.trim_end())
    });
    let mut exited = Command::new("true").spawn().unwrap();
    exited.wait().unwrap();
    for pid in [std::process::id(), exited.id()] {
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
    assert!(both_respond(&stack));
    stack.redis.pause();
    stack.postgres.pause();
    assert!(none_responds(&stack));
    stack.redis.resume();
    stack.postgres.resume();
    eventually("both stores respond", || both_respond(&stack));
}

#[test]
fn killed_stores_restart_with_committed_data() {
    let mut stack = Stack::temporary().unwrap();
    stack.postgres.create_database("kept").unwrap();
    run_in_kept(&stack, "create table kept as select 42 as value");
    for pause_first in [false, true] {
        if pause_first {
            stack.postgres.pause();
            stack.redis.pause();
        }
        let family = descendants(stack.postgres.pid());
        stack.postgres.kill();
        stack.redis.kill();
        assert!(have_exited(&family) && none_responds(&stack));
        stack.postgres.restart().unwrap();
        stack.redis.restart().unwrap();
        assert!(both_respond(&stack));
        assert_eq!(
            run_in_kept(&stack, "select value from kept"),
            "42",
            "committed data survive"
        );
    }
}

#[test]
fn stopped_stores_restart() {
    let mut stack = Stack::temporary().unwrap();
    stack.postgres.stop();
    stack.redis.stop();
    assert!(none_responds(&stack));
    stack.postgres.restart().unwrap();
    stack.redis.restart().unwrap();
    assert!(both_respond(&stack));
}

#[test]
fn stack_outlives_thread_that_started_it() {
    let stack = thread::spawn(Stack::temporary).join().unwrap().unwrap();
    // The kernel sends the parent-death signal when a thread exits, so a child of that thread would
    // be stopped now.
    assert!(both_respond(&stack));
    stack.postgres.create_database("kept").unwrap();
    assert_eq!(run_in_kept(&stack, "select 1"), "1");
}

#[test]
fn dropped_temporary_stack_leaves_nothing() {
    let stack = Stack::temporary().unwrap();
    let folder = socket_folder(&stack);
    let pids = [stack.postgres.pid(), stack.redis.pid()];
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    drop(stack);
    assert!(!folder.exists() && have_exited(&pids));
}

#[test]
fn only_folders_of_killed_runs_are_removed() {
    let stale = PathBuf::from(format!("/tmp/latchkey-stale{}", std::process::id()));
    let _ = fs::DirBuilder::new().mode(0o700).create(&stale);
    fs::write(stale.join("lock"), "").unwrap();
    let first = Stack::temporary().unwrap();
    let second = Stack::temporary().unwrap();
    assert!(!stale.exists());
    assert!(both_respond(&first));
    assert!(both_respond(&second));
}

#[test]
fn create_database_rejects_sql_in_name() -> Result<(), Error> {
    let stack = Stack::temporary()?;
    let error = stack
        .postgres
        .create_database("x'; drop database postgres; --")
        .unwrap_err();
    assert!(error.to_string().contains("lower case"), "{error}");
    Ok(())
}
