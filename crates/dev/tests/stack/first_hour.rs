//! Tests of `.env` files for other purposes, and of the commands that the output contains.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{
    DevProcess, TestFolder, latchkey_dev,
    using::{generate_secret, sign_in, sign_up, verify},
};

const PASSWORD: &str = "secret123";

fn text_of(output: &Output) -> String {
    [&*output.stdout, &*output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

/// Returns the file that `docs/how-to/compose.md` creates, with settings for other machines.
fn compose_file() -> String {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env.example");
    let example = fs::read_to_string(example).expect("the example file");
    let values = [
        ("LATCHKEY_SECRET", generate_secret()),
        (
            "DATABASE_URL",
            "postgres://latchkey:x@postgres/latchkey".into(),
        ),
        ("REDIS_URL", "redis://redis:6379".into()),
        ("LATCHKEY_ISSUER", "https://auth.example.com".into()),
        ("LATCHKEY_SMTP_URL", "smtp://mail:1025".into()),
    ];
    let filled = values.iter().fold(example, |text, (name, value)| {
        let empty = format!("\n{name}=\n");
        assert!(text.contains(&empty), "{name}");
        text.replace(&empty, &format!("\n{name}={value}\n"))
    });
    // Compose accepts spaces without quotes.
    format!("{filled}LATCHKEY_EMAIL_FROM=Latchkey <me@example.com>\nPOSTGRES_PASSWORD=1f\n")
}

/// Starts the stack in a folder with this `.env`, and asserts that the output contains the note.
fn start_with_env_file(folder: &TestFolder, text: String, note: &str) -> (PathBuf, DevProcess) {
    let file = folder.path().join(".env");
    fs::write(&file, text).expect("the file is written");
    let dev = DevProcess::start_ready(folder.path(), &[]);
    assert!(dev.output().contains(note), "{}", dev.output());
    (file, dev)
}

#[tokio::test]
async fn env_file_of_compose_is_ignored() {
    let folder = TestFolder::new();
    let note = "note: .env is ignored, because its POSTGRES_PASSWORD";
    let (file, dev) = start_with_env_file(&folder, compose_file(), note);
    let token = sign_up(&dev.servers()[0]).await;
    drop(dev);
    fs::remove_file(&file).expect("the file is removed");
    let dev = DevProcess::start_ready(folder.path(), &[]);
    assert_eq!(verify(&dev.servers()[0], &token).await, 204);
}

#[tokio::test]
async fn database_of_given_secret_works_without_env_file() {
    let folder = TestFolder::new();
    let secret = |secret: String| format!("LATCHKEY_SECRET={secret}\n");
    let note = "note: settings from .env: LATCHKEY_SECRET\n";
    let (file, dev) = start_with_env_file(&folder, secret(generate_secret()), note);
    let token = sign_up(&dev.servers()[0]).await;
    drop(dev);
    fs::remove_file(&file).expect("the file is removed");
    let dev = DevProcess::start_ready(folder.path(), &[]);
    let server = dev.servers().remove(0);
    assert_eq!(verify(&server, &token).await, 204);
    assert_eq!(sign_in(&server, PASSWORD).await, 200);
    drop(dev);
    // The error of the server is above the hint, which names the cause.
    fs::write(&file, secret(generate_secret())).expect("the file is written");
    let output = latchkey_dev(folder.path(), &[]).output().expect("a start");
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("hint: `./dev up` requires no settings, but .env sets LATCHKEY_SECRET;"),
        "{text}"
    );
}

#[test]
fn env_file_of_deployment_prints_one_error() {
    let folder = TestFolder::new();
    let file = folder.path().join(".env");
    for (text, error, hint) in [
        (
            "DATABASE_URL=postgres://latchkey:x@db.invalid/latchkey\nLATCHKEY_ISSUER=https://a.example\n",
            "the settings are those of a deployment",
            "mv .env .env.deployment",
        ),
        (
            "DATABASE_URL=postgres://latchkey:x@db.invalid/latchkey\n",
            "the host db.invalid of DATABASE_URL in .env is unknown",
            "remove DATABASE_URL from .env",
        ),
    ] {
        fs::write(&file, text).expect("the file is written");
        let mut command = latchkey_dev(folder.path(), &[]);
        let output = command.env_remove("LATCHKEY_ISSUER").output();
        let output = text_of(&output.expect("a start"));
        let lines: Vec<_> = output.lines().collect();
        let [note, first, second] = lines[..] else {
            panic!("not three lines: {output}");
        };
        assert!(note.starts_with("note: settings from .env: "), "{output}");
        assert!(
            first.starts_with("error: ") && first.contains(error),
            "{output}"
        );
        assert!(
            second.starts_with("hint: ") && second.contains(hint),
            "{output}"
        );
    }
    assert!(!folder.path().join(".latchkey/postgres").exists());
}

/// Returns the first line of the text with this content, without the label and the indentation.
fn find_command<'a>(text: &'a str, content: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(content));
    let line = line.unwrap_or_else(|| panic!("{content}: {text}")).trim();
    line.strip_prefix("stop").unwrap_or(line).trim()
}

/// Stops the detached instance in a folder, also after a failed assertion.
struct StopAtEnd<'a>(&'a Path);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        let _ = latchkey_dev(self.0, &["--down", "--directory", "data"]).output();
    }
}

#[test]
fn commands_in_output_can_be_pasted() {
    let folder = TestFolder::new();
    let _stop = StopAtEnd(folder.path());
    let bash = |command: &str| {
        let output = Command::new("bash")
            .args(["-c", command])
            .current_dir(folder.path())
            .output();
        let output = output.expect("`bash` runs");
        let text = text_of(&output);
        assert!(output.status.success(), "{command}: {text}");
        text
    };
    let start = || {
        let arguments = ["--detach", "--directory", "data"];
        text_of(
            &latchkey_dev(folder.path(), &arguments)
                .output()
                .expect("a start"),
        )
    };
    let banner = start();
    let user = bash(find_command(&banner, " user create "));
    assert!(user.contains("Created user admin"), "{user}");
    let registered = bash(find_command(&banner, "curl "));
    assert!(registered.contains("access_token"), "{registered}");
    let second = start();
    let hint = find_command(&second, "hint: stop it:  ");
    let stop = find_command(&banner, "--down");
    assert!(hint.ends_with(stop), "{second}");
    assert!(bash(stop).contains("Stopped Latchkey"));
}

#[test]
fn commands_contain_script_as_typed() {
    let folder = TestFolder::new();
    let mut command = latchkey_dev(folder.path(), &["--detach"]);
    command.env("LATCHKEY_DEV_SCRIPT", "../my project/dev");
    let banner = text_of(&command.output().expect("a start"));
    let down = latchkey_dev(folder.path(), &["--down"]).output();
    assert!(down.expect("a stop").status.success());
    for line in [
        "'../my project/dev' down\n",
        "'../my project/dev' user create --username admin --role admin\n",
    ] {
        assert!(banner.contains(line), "{line}: {banner}");
    }
}
