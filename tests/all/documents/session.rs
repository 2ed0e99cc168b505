//! Runs the shell blocks of a page in one bash, with a server as `./dev up` starts it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    blocks::{Block, Marker},
    output::is_expected,
};
use crate::{loopback::own_address, test_server::TestServer, tour::serve_mailbox};

/// Maximum duration of a page, sufficient on a busy machine.
const PAGE_TIMEOUT: Duration = Duration::from_secs(180);

/// The start of a line that separates the outputs of the blocks.
const SEPARATOR: &str = "@@ block at line ";

/// Prints the line of a command that fails. It is the first line of the script, which the title of
/// a page takes.
const TRAP: &str = r#"trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR"#;

/// Replaces `./dev`: forwards the commands for a running instance to the binary.
const DEV: &str = r#"#!/bin/sh
case $1 in
    user | client | keys | explain | revocations) exec latchkey "$@" ;;
    *) echo "error: the test of the documents has no ./dev $1" >&2 && exit 1 ;;
esac
"#;

/// Runs the blocks of a page, prints their outputs, and compares them. Returns a description of the
/// differences.
pub async fn run_page(page: &str, blocks: &[Block]) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mailbox) = start_server(folder.path()).await;
    let command = create_command(folder.path(), &server, &mailbox, &script(blocks));
    let run = tokio::task::spawn_blocking(move || run_to_completion(command));
    let output = run.await.expect("no panic");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    println!("{page}:\n{stdout}");
    let mut failures = differences(blocks, &stdout);
    if !output.status.success() {
        failures.insert(0, format!("bash failed with {}", output.status));
    }
    if failures.is_empty() {
        return Ok(());
    }
    let failures = failures.join("\n");
    Err(format!(
        "{page}: {failures}\nstdout:\n{stdout}\nstderr:\n{stderr}"
    ))
}

/// Starts a server with an own address, because it is also the issuer, and with an own mailbox.
async fn start_server(folder: &Path) -> (TestServer, String) {
    let (address, emails) = (own_address().to_string(), folder.join("emails"));
    fs::create_dir(&emails).expect("a new folder");
    let server = TestServer::with(&[
        ("LATCHKEY_LISTEN", address.as_str()),
        ("LATCHKEY_METRICS_LISTEN", &own_address().to_string()),
        ("LATCHKEY_ISSUER", &format!("http://{address}")),
        ("LATCHKEY_SMTP_URL", &format!("file:{}", emails.display())),
        ("LATCHKEY_HASH_IMPLEMENTATION", "rustcrypto"),
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_TRUSTED_PROXIES", ""),
    ])
    .await;
    (server, serve_mailbox(emails))
}

/// Returns a script with the blocks that run. Each line has the number that it has in the page, so
/// that messages of bash contain it.
fn script(blocks: &[Block]) -> String {
    let mut lines = vec![TRAP.to_owned()];
    for block in blocks.iter().filter(|block| block.marker == Marker::Run) {
        // The separator replaces the line of the fence.
        lines.resize(block.first_line - 2, String::new());
        lines.push(format!("echo '{SEPARATOR}{}'", block.first_line));
        lines.extend(block.lines.iter().cloned());
    }
    lines.join("\n") + "\n"
}

fn create_command(folder: &Path, server: &TestServer, mailbox: &str, script: &str) -> Command {
    let programs = folder.join("bin");
    fs::create_dir(&programs).expect("a new folder");
    symlink(env!("CARGO_BIN_EXE_latchkey"), programs.join("latchkey")).expect("a link");
    let dev = folder.join("dev");
    fs::write(&dev, DEV).expect("a new file");
    fs::set_permissions(&dev, fs::Permissions::from_mode(0o755)).expect("an own file");
    fs::write(folder.join("page"), script).expect("a new file");
    let search_path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command
        .args(["-Eeuo", "pipefail", "page"])
        .env_clear()
        .envs(server.settings())
        .env("PATH", format!("{}:{search_path}", programs.display()))
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("LATCHKEY", server.url(""))
        .env("MAILBOX", mailbox)
        .current_dir(folder);
    command
}

/// Runs a command. After the timeout, kills it and returns its output until then.
fn run_to_completion(mut command: Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A child of bash would keep the pipes open, so all of them end after the timeout.
    command.process_group(0);
    let child = latchkey_dev::spawn(command, Signal::KILL).expect("bash is installed");
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(PAGE_TIMEOUT).unwrap_or_else(|_| {
        // The child isn't reaped yet, so the process ID still belongs to it.
        let _ = kill_process_group(pid, Signal::KILL);
        let output = receiver.recv_timeout(Duration::from_secs(10));
        output.expect("the output of a killed process")
    });
    output.expect("the output of bash")
}

/// Compares the output of each block with its statuses, and with the block of its output.
fn differences(blocks: &[Block], stdout: &str) -> Vec<String> {
    let outputs: Vec<(usize, Vec<&str>)> = stdout
        .split(SEPARATOR)
        .skip(1)
        .map(|part| {
            let mut lines = part.lines();
            let line = lines.next().and_then(|number| number.parse().ok());
            (line.expect("a line number"), lines.collect())
        })
        .collect();
    let output_of = |block: &Block| {
        let found = outputs.iter().find(|(line, _)| *line == block.first_line);
        found.map(|(_, lines)| lines.as_slice())
    };
    let mut failures = Vec::new();
    let mut last_output: &[&str] = &[];
    for block in blocks {
        match (&block.marker, output_of(block)) {
            (Marker::Run, Some(output)) => {
                failures.extend(compare_statuses(block, output));
                last_output = output;
            }
            (Marker::Run, None) => failures.push(format!("line {}: not reached", block.first_line)),
            (Marker::Output, _) => failures.extend(compare_output(block, last_output)),
            _other => {}
        }
    }
    failures
}

fn compare_statuses(block: &Block, output: &[&str]) -> Option<String> {
    let is_status = |line: &&&str| line.len() == 3 && line.chars().all(|c| c.is_ascii_digit());
    let found: Vec<&str> = output.iter().filter(is_status).copied().collect();
    let expected = block.expected_statuses();
    (found != expected).then(|| {
        let line = block.first_line;
        format!("block at line {line}: the statuses are {found:?} instead of {expected:?}")
    })
}

fn compare_output(block: &Block, output: &[&str]) -> Option<String> {
    (!is_expected(block, output)).then(|| {
        let expected = block.lines.join("\n");
        let (line, found) = (block.first_line, output.join("\n"));
        format!("block at line {line}: the output is\n{found}\ninstead of\n{expected}")
    })
}

#[test]
fn differences_name_block_and_line() {
    let block = |marker, first_line, lines: &[&str]| Block {
        document: "a.md".to_owned(),
        first_line,
        language: "bash".to_owned(),
        marker,
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
    };
    let blocks = [
        block(Marker::Run, 4, &["status a  # 200", "echo id: 7"]),
        block(Marker::Output, 9, &["200", "id: …"]),
        block(Marker::Run, 20, &["status b  # 401"]),
    ];
    let script = script(&blocks);
    let lines: Vec<&str> = script.lines().collect();
    assert_eq!(
        (lines[3], lines[19]),
        ("status a  # 200", "status b  # 401")
    );
    let stdout = format!("{SEPARATOR}4\n200\nid: 7\n{SEPARATOR}20\n401\n");
    assert!(differences(&blocks, &stdout).is_empty());
    let stdout = format!("{SEPARATOR}4\n204\nid: 7\n");
    let found = differences(&blocks, &stdout);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("block at line 4: the statuses are [\"204\"]"));
    assert_eq!(found[2], "line 20: not reached");
}
