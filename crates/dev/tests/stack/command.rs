//! `latchkey-dev` as a process: its start, its end, and what it leaves behind.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{
    Dev, Place, eventually, latchkey_dev,
    processes::{self, all_gone, descendants, is_stopped, send},
};

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asserts that the output is one error and how to fix it, each on its line.
fn assert_error_and_hint(text: &str) {
    let lines: Vec<_> = text.trim().lines().collect();
    let [error, hint] = lines[..] else {
        panic!("not two lines: {text}");
    };
    assert!(
        error.starts_with("error: ") && hint.starts_with("hint: "),
        "{text}"
    );
}

#[test]
fn kill_9_of_the_supervisor_leaves_no_child() {
    let folder = Place::new();
    let mut dev = Dev::ready(folder.path(), &["--replicas", "2"]);
    let children = descendants(dev.child.id());
    assert!(
        children.len() >= 4,
        "two stores and two replicas at least: {children:?}"
    );
    dev.kill();
    eventually("all children are gone", || all_gone(&children));
}

#[test]
fn ctrl_c_and_sigterm_end_everything_in_peace() {
    for signal in ["INT", "TERM"] {
        let folder = Place::new();
        let mut dev = Dev::ready(folder.path(), &[]);
        let children = descendants(dev.child.id());
        dev.signal(signal);
        assert!(
            dev.child.wait().unwrap().success(),
            "{signal}: {}",
            dev.last_words()
        );
        assert!(all_gone(&children), "{signal}: {children:?}");
    }
}

#[test]
fn an_interrupted_start_ends_everything_too() {
    let folder = Place::new();
    let mut dev = Dev::start(folder.path(), &[]);
    eventually("a child is there", || {
        !descendants(dev.child.id()).is_empty()
    });
    let children = descendants(dev.child.id());
    dev.signal("INT");
    assert!(dev.child.wait().unwrap().success(), "{}", dev.last_words());
    // A server that `initdb` runs ends when it reads that `initdb` has.
    eventually("all of them are gone", || all_gone(&children));
}

#[test]
fn a_run_starts_at_once_where_another_was_killed() {
    let folder = Place::new();
    for _ in 0..3 {
        Dev::ready(folder.path(), &[]).kill();
    }
    let secret = fs::read(folder.path().join(".latchkey/secret")).unwrap();
    drop(Dev::ready(folder.path(), &[]));
    assert_eq!(
        fs::read(folder.path().join(".latchkey/secret")).unwrap(),
        secret
    );
}

#[test]
fn a_run_that_was_killed_while_it_made_its_data_starts_at_once() {
    let folder = Place::new();
    for _ in 0..3 {
        let mut dev = Dev::start(folder.path(), &[]);
        // `initdb` is the first child, and the server that it runs the first grandchild.
        eventually("data are being made", || {
            descendants(dev.child.id()).len() > 1
        });
        let children = descendants(dev.child.id());
        dev.kill();
        drop(Dev::start(folder.path(), &[]));
        eventually("all children are gone", || all_gone(&children));
    }
    drop(Dev::ready(folder.path(), &[]));
}

#[test]
fn a_store_that_stood_still_when_its_run_was_killed_is_ended_by_the_next() {
    let folder = Place::new();
    let mut dev = Dev::ready(folder.path(), &[]);
    let children = descendants(dev.child.id());
    processes::children(dev.child.id())
        .iter()
        .for_each(|pid| send("STOP", *pid));
    dev.kill();
    let _next = Dev::ready(folder.path(), &[]);
    // The gateway holds no data, so nobody looks for one that stands still.
    let stopped: Vec<_> = children
        .iter()
        .copied()
        .filter(|pid| is_stopped(*pid))
        .collect();
    stopped.iter().for_each(|pid| send("KILL", *pid));
    assert!(stopped.len() <= 1, "stores are ended: {stopped:?}");
    eventually("all are gone", || all_gone(&children));
}

#[test]
fn second_run_in_a_folder_names_the_first() {
    let folder = Place::new();
    let first = Dev::ready(folder.path(), &[]);
    let output = latchkey_dev(folder.path(), &[]).output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&first.lock_line(1).unwrap()) && text.contains("latchkey-dev --down"),
        "{text}"
    );
    assert_error_and_hint(&text);
}

#[test]
fn used_port_is_one_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    for (variable, hint) in [
        ("LATCHKEY_LISTEN", "LATCHKEY_LISTEN"),
        ("LATCHKEY_METRICS_LISTEN", "LATCHKEY_METRICS_LISTEN"),
        (
            "LATCHKEY_DEV_MAILBOX_LISTEN",
            "--mailbox-listen or LATCHKEY_DEV_MAILBOX_LISTEN",
        ),
    ] {
        let folder = Place::new();
        let output = latchkey_dev(folder.path(), &[])
            .env(variable, taken.to_string())
            .output()
            .unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains(&taken.port().to_string()) && text.contains(hint),
            "{text}"
        );
        assert_error_and_hint(&text);
    }
}

#[test]
fn broken_env_file_is_one_error_and_does_not_prevent_a_stop() {
    let folder = Place::new();
    fs::write(
        folder.path().join(".env"),
        "LATCHKEY_EMAIL_FROM=Latchkey <hunter2>\n",
    )
    .unwrap();
    let output = latchkey_dev(folder.path(), &[]).output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(".env") && text.contains("quotes"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_error_and_hint(&text);
    assert!(!folder.path().join(".latchkey").exists());
    let down = latchkey_dev(folder.path(), &["--down"]).output().unwrap();
    assert!(down.status.success(), "{}", text_of(&down));
}

#[test]
fn missing_server_is_one_error() {
    let folder = Place::new();
    let copy = folder.path().join("latchkey-dev");
    fs::copy(env!("CARGO_BIN_EXE_latchkey-dev"), &copy).unwrap();
    for arguments in [&[][..], &["--detach"]] {
        let output = Command::new(&copy)
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .output()
            .unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("cargo build -p latchkey"), "{text}");
        assert_error_and_hint(&text);
    }
    assert!(!folder.path().join(".latchkey").exists());
}

#[test]
fn help_names_every_flag_and_variable() {
    let folder = Place::new();
    let help = text_of(&latchkey_dev(folder.path(), &["--help"]).output().unwrap());
    let short = text_of(&latchkey_dev(folder.path(), &["-h"]).output().unwrap());
    assert!(!short.contains("Examples:"), "{short}");
    for word in [
        "Examples:",
        "Exit codes:",
        "Docs: README.md",
        "--detach",
        "--down",
        "--replicas",
        "--directory",
        "--listen",
        "--metrics-listen",
        "--mailbox-listen",
        "LATCHKEY_LISTEN",
        "LATCHKEY_METRICS_LISTEN",
        "LATCHKEY_DEV_MAILBOX_LISTEN",
        "DATABASE_URL",
        "REDIS_URL",
        "LATCHKEY_SMTP_URL",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let version = text_of(
        &latchkey_dev(folder.path(), &["--version"])
            .output()
            .unwrap(),
    );
    assert_eq!(
        version,
        format!("latchkey-dev {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn detach_returns_when_ready_and_down_ends_it() {
    let folder = Place::new();
    let nothing = latchkey_dev(folder.path(), &["--down"]).output().unwrap();
    assert!(
        nothing.status.success() && text_of(&nothing).contains("No instance runs"),
        "{}",
        text_of(&nothing)
    );
    let up = latchkey_dev(folder.path(), &["--detach"]).output().unwrap();
    assert!(
        up.status.success() && text_of(&up).contains("/signup"),
        "{}",
        text_of(&up)
    );
    let lock = fs::read_to_string(folder.path().join(".latchkey/lock")).unwrap();
    let children = descendants(lock.lines().next().unwrap().parse().unwrap());
    assert!(children.len() >= 3, "{children:?}");
    let down = latchkey_dev(folder.path(), &["--down"]).output().unwrap();
    assert!(
        down.status.success() && text_of(&down).contains("Stopped"),
        "{}",
        text_of(&down)
    );
    assert!(all_gone(&children));
}

#[test]
fn a_dead_replica_ends_the_run_with_its_name() {
    let folder = Place::new();
    let mut dev = Dev::ready(folder.path(), &[]);
    let name = dev.lock_line(1).unwrap();
    let children = descendants(dev.child.id());
    // The replica is the child that was started last.
    send(
        "KILL",
        processes::children(dev.child.id())
            .into_iter()
            .max()
            .unwrap(),
    );
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
    assert!(dev.last_words().contains(&name));
    assert!(all_gone(&children));
}

#[test]
fn it_runs_from_a_path_of_150_bytes_in_a_closed_folder() {
    let folder = Place::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let deep = Place(TempDir::with_prefix_in("p".repeat(150), folder.path()).unwrap());
    drop(Dev::ready(deep.path(), &[]));
    let mode = fs::metadata(deep.path().join(".latchkey"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}
