//! Tests of the process `latchkey-dev`: start, stop, errors, and remaining processes.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{
    DevProcess, TestFolder, eventually, latchkey_dev,
    processes::{self, descendants, have_exited, is_stopped, send},
};

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asserts that the output consists of one error and one hint, each on one line.
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
fn killed_supervisor_leaves_no_children() {
    let folder = TestFolder::new();
    let mut dev = DevProcess::start_ready(folder.path(), &["--replicas", "2"]);
    let children = descendants(dev.child.id());
    assert!(
        children.len() >= 4,
        "at least two stores and two replicas: {children:?}"
    );
    dev.kill();
    eventually("all children have exited", || have_exited(&children));
}

#[test]
fn interrupt_and_terminate_signals_stop_gracefully() {
    for signal in ["INT", "TERM"] {
        let folder = TestFolder::new();
        let mut dev = DevProcess::start_ready(folder.path(), &[]);
        let children = descendants(dev.child.id());
        dev.signal(signal);
        assert!(
            dev.child.wait().unwrap().success(),
            "{signal}: {}",
            dev.final_output()
        );
        assert!(have_exited(&children), "{signal}: {children:?}");
    }
}

#[test]
fn interrupted_start_stops_all_children() {
    let folder = TestFolder::new();
    let mut dev = DevProcess::start(folder.path(), &[]);
    eventually("a child is running", || {
        !descendants(dev.child.id()).is_empty()
    });
    let children = descendants(dev.child.id());
    dev.signal("INT");
    assert!(
        dev.child.wait().unwrap().success(),
        "{}",
        dev.final_output()
    );
    // A server that `initdb` started exits after `initdb`, because its input is closed.
    eventually("all children have exited", || have_exited(&children));
}

/// Creates a named pipe for the master secret. The server waits until another process writes to it.
fn create_secret_pipe(folder: &Path) -> String {
    let pipe = folder.join("secret-pipe");
    let status = Command::new("mkfifo").arg(&pipe).status();
    assert!(status.expect("`mkfifo` runs").success());
    pipe.display().to_string()
}

#[test]
fn interrupted_check_of_previous_data_starts_no_server() {
    let folder = TestFolder::new();
    drop(DevProcess::start_ready(folder.path(), &[]));
    // The background process writes the log of the server to a file.
    let settings = [
        ("LATCHKEY_SECRET_FILE", &*create_secret_pipe(folder.path())),
        ("LATCHKEY_DEV_DETACHED", "yes"),
    ];
    let mut dev = DevProcess::start_with(folder.path(), &["--detach"], &settings);
    let data = folder.path().join(".latchkey");
    eventually("the migration is running", || {
        data.join("migrate.log").exists()
    });
    dev.signal("INT");
    assert!(
        dev.child.wait().unwrap().success(),
        "{}",
        dev.final_output()
    );
    assert!(!data.join("server-1.log").exists());
    assert_eq!(dev.final_output(), "");
}

#[test]
fn interrupted_detached_start_fails_and_stops_all_children() {
    let folder = TestFolder::new();
    let pipe = create_secret_pipe(folder.path());
    let settings = [("LATCHKEY_SECRET_FILE", pipe.as_str())];
    let mut dev = DevProcess::start_with(folder.path(), &["--detach"], &settings);
    eventually("the server is running", || {
        folder.path().join(".latchkey/server-1.log").exists()
    });
    let children = descendants(dev.child.id());
    assert!(children.len() >= 3, "{children:?}");
    dev.signal("INT");
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
    assert_eq!(dev.final_output(), "error: interrupted\n");
    assert!(have_exited(&children), "{children:?}");
}

#[test]
fn run_starts_after_previous_run_was_killed() {
    let folder = TestFolder::new();
    for _ in 0..3 {
        DevProcess::start_ready(folder.path(), &[]).kill();
    }
    let secret = fs::read(folder.path().join(".latchkey/secret")).unwrap();
    drop(DevProcess::start_ready(folder.path(), &[]));
    assert_eq!(
        fs::read(folder.path().join(".latchkey/secret")).unwrap(),
        secret
    );
}

#[test]
fn run_starts_after_kill_during_initialization() {
    let folder = TestFolder::new();
    for _ in 0..3 {
        let mut dev = DevProcess::start(folder.path(), &[]);
        // The first child is `initdb`, and the first grandchild is its server.
        eventually("`initdb` is running", || {
            descendants(dev.child.id()).len() > 1
        });
        let children = descendants(dev.child.id());
        dev.kill();
        drop(DevProcess::start(folder.path(), &[]));
        eventually("all children have exited", || have_exited(&children));
    }
    drop(DevProcess::start_ready(folder.path(), &[]));
}

#[test]
fn next_run_stops_paused_stores_of_killed_run() {
    let folder = TestFolder::new();
    let mut dev = DevProcess::start_ready(folder.path(), &[]);
    let children = descendants(dev.child.id());
    processes::children(dev.child.id())
        .iter()
        .for_each(|pid| send("STOP", *pid));
    dev.kill();
    let _next = DevProcess::start_ready(folder.path(), &[]);
    // The next run doesn't detect a paused server of a killed run, because a server has no data.
    let stopped: Vec<_> = children
        .iter()
        .copied()
        .filter(|pid| is_stopped(*pid))
        .collect();
    stopped.iter().for_each(|pid| send("KILL", *pid));
    assert!(
        stopped.len() <= 1,
        "at most the server is paused: {stopped:?}"
    );
    eventually("all processes have exited", || have_exited(&children));
}

#[test]
fn second_run_in_folder_error_contains_first_url() {
    let folder = TestFolder::new();
    let first = DevProcess::start_ready(folder.path(), &[]);
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
fn used_port_prints_one_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = listener.local_addr().unwrap();
    for variable in [
        "LATCHKEY_LISTEN",
        "LATCHKEY_METRICS_LISTEN",
        "LATCHKEY_DEV_MAILBOX_LISTEN",
    ] {
        let folder = TestFolder::new();
        let output = latchkey_dev(folder.path(), &[])
            .env(variable, used.to_string())
            .output()
            .unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains(&used.port().to_string())
                && text.contains(&format!("hint: use other ports:  {variable}=127.0.0.1:")),
            "{text}"
        );
        assert_error_and_hint(&text);
    }
}

#[test]
fn invalid_env_file_prints_one_error_and_allows_stop() {
    let folder = TestFolder::new();
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
fn missing_server_prints_one_error() {
    let folder = TestFolder::new();
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
fn help_contains_every_flag_and_variable() {
    let folder = TestFolder::new();
    let help = text_of(&latchkey_dev(folder.path(), &["--help"]).output().unwrap());
    let short = text_of(&latchkey_dev(folder.path(), &["-h"]).output().unwrap());
    assert!(!short.contains("Examples:"), "{short}");
    for word in [
        "Examples:",
        "Exit codes:",
        "Docs: docs/how-to/run-locally.md",
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
fn detach_returns_when_ready_and_down_stops_instance() {
    let folder = TestFolder::new();
    let not_running = latchkey_dev(folder.path(), &["--down"]).output().unwrap();
    assert!(
        not_running.status.success() && text_of(&not_running).contains("No instance runs"),
        "{}",
        text_of(&not_running)
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
    assert!(have_exited(&children));
}

#[test]
fn killed_replica_stops_run_with_error() {
    let folder = TestFolder::new();
    let mut dev = DevProcess::start_ready(folder.path(), &[]);
    let name = dev.lock_line(1).unwrap();
    let children = descendants(dev.child.id());
    // The replica is the last started child, so it has the highest process ID.
    send(
        "KILL",
        processes::children(dev.child.id())
            .into_iter()
            .max()
            .unwrap(),
    );
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
    assert!(dev.final_output().contains(&name));
    assert!(have_exited(&children));
}

#[test]
fn run_in_private_folder_with_long_path_starts() {
    let folder = TestFolder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let deep = TestFolder(TempDir::with_prefix_in("p".repeat(150), folder.path()).unwrap());
    drop(DevProcess::start_ready(deep.path(), &[]));
    let mode = fs::metadata(deep.path().join(".latchkey"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}
