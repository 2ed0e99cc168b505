//! Prompts on a terminal: passwords without echo, and confirmations.

use std::process::Command;

use serde_json::json;

use super::run_user_ok;
use crate::test_server::{PASSWORD, TestServer};

/// Runs a program on a new terminal. For each prompt, waits for its text, and then types the keys
/// or sends the signal. Afterwards, the terminal must have its echo and its special characters.
const TERMINAL: &str = r#"
import json, os, pty, signal, sys, termios
program, arguments, dialog = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
process, terminal = pty.fork()
if process == 0:
    os.execv(program, [program, *arguments])

def read():
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""

shown = b""
for prompt, keys in dialog:
    start = len(shown)
    while prompt.encode() not in shown[start:]:
        chunk = read()
        if not chunk:
            sys.exit("no prompt: " + shown.decode())
        shown += chunk
    if keys in signal.Signals.__members__:
        os.kill(process, signal.Signals[keys])
    else:
        os.write(terminal, keys.encode())
while chunk := read():
    shown += chunk
modes, characters = termios.tcgetattr(terminal)[3], termios.tcgetattr(terminal)[6]
if not modes & termios.ECHO or characters[termios.VSUSP] != b"\x1a":
    sys.exit("the modes of the terminal are not restored")
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"#;

/// Runs `latchkey user …` on a terminal, and returns the exit code and the terminal output. The
/// dialog consists of prompts, each with the keys to type or the name of a signal.
async fn run_on_terminal(
    server: &TestServer,
    arguments: &[&str],
    dialog: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_latchkey")])
        .arg(json!([&["user"], arguments].concat()).to_string())
        .arg(json!(dialog).to_string())
        .env_clear()
        .envs(server.settings())
        .current_dir(std::env::temp_dir());
    let run = move || command.output().expect("Python is installed");
    let output = tokio::task::spawn_blocking(run)
        .await
        .expect("the task runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "{text}");
    (output.status.code(), text)
}

#[tokio::test]
async fn passwords_are_prompted_twice_without_echo() {
    let server = TestServer::start().await;
    let create = ["create", "--username", "john", "--password-stdin"];
    let (first, second) = ("Password: ", "Repeat the password: ");
    let line = &format!("{PASSWORD}\n");
    let dialog = [(first, line.as_str()), (second, "another one 7\n")];
    assert_eq!(
        run_on_terminal(&server, &create, &dialog).await,
        (
            Some(1),
            format!("{first}\n{second}\nerror: the passwords differ\n")
        )
    );
    let dialog = [(first, line.as_str()), (second, line)];
    assert_eq!(
        run_on_terminal(&server, &create, &dialog).await,
        (
            Some(0),
            format!("{first}\n{second}\nCreated user john with the role user.\n")
        )
    );
    server.try_sign_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn new_password_of_user_is_confirmed_first() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let reset = ["reset-password", "john", "--password-stdin"];
    let question = "Set the password of john and revoke all sessions and tokens? [y/N] ";
    let (code, text) = run_on_terminal(&server, &reset, &[(question, "n\n")]).await;
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    let line = "another one 7\n";
    let dialog = [
        (question, "y\n"),
        ("Password: ", line),
        ("Repeat the password: ", line),
    ];
    let (code, text) = run_on_terminal(&server, &reset, &dialog).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("another one"), "{text}");
    assert_eq!(server.verify(&session.access_token).await.0, 401);
    server
        .try_sign_in("john", "another one 7")
        .await
        .is(200, "");
}

#[tokio::test]
async fn interrupted_password_prompt_restores_echo() {
    let server = TestServer::start().await;
    let create = ["create", "--username", "john", "--password-stdin"];
    let (first, second) = ("Password: ", "Repeat the password: ");
    for (keys, status) in [
        ("\u{3}", 130),
        ("SIGINT", 130),
        ("\u{1c}", 131),
        ("SIGTERM", 143),
        ("SIGHUP", 129),
    ] {
        assert_eq!(
            run_on_terminal(&server, &create, &[(first, keys)]).await,
            (Some(status), format!("{first}\n"))
        );
        assert_eq!(
            run_on_terminal(&server, &create, &[(first, "secret\n"), (second, keys)]).await,
            (Some(status), format!("{first}\n{second}\n"))
        );
    }
    let (code, text) = run_on_terminal(&server, &create, &[(first, "secret\u{1a}\n")]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Ctrl-Z"), "{text}");
    let users = run_user_ok(&server, &["list"]).await;
    assert!(!users.contains("john"), "{users}");
}

#[tokio::test]
async fn prompt_confirms_or_cancels() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let question = "Revoke all sessions and personal access tokens of john? [y/N] ";
    let revoke = ["revoke", "john"];
    for line in ["\n", "n\n", "Y es\n"] {
        let (code, text) = run_on_terminal(&server, &revoke, &[(question, line)]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.ends_with("error: canceled; nothing was changed\n"),
            "{text}"
        );
    }
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    let (code, text) = run_on_terminal(&server, &revoke, &[(question, "y\n")]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.ends_with("Revoked all sessions and personal access tokens of john.\n"),
        "{text}"
    );
    assert_eq!(server.verify(&session.access_token).await.0, 401);
    assert!(
        run_user_ok(&server, &["show", "john"])
            .await
            .contains("No sessions.")
    );
}
