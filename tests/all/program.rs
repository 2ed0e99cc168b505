//! Runs commands of the binary to completion.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Runs a command in a folder with only these environment variables and this standard input.
pub fn run_in<S: AsRef<OsStr>>(
    folder: &Path,
    arguments: &[&str],
    settings: impl IntoIterator<Item = (S, S)>,
    input: &str,
) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_latchkey"))
        .args(arguments)
        .env_clear()
        .envs(settings)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads no input might have exited already.
    let _ = child
        .stdin
        .take()
        .expect("a piped standard input")
        .write_all(input.as_bytes());
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.expect("the output of the command"),
        Err(_) => {
            // The child isn't reaped yet, so the process ID still belongs to it.
            let _ = kill_process(pid, Signal::KILL);
            panic!("the command didn't exit in time: {arguments:?}")
        }
    }
}

/// Like [`run_in`], in a folder without an `.env` file.
pub fn run<S: AsRef<OsStr>>(
    arguments: &[&str],
    settings: impl IntoIterator<Item = (S, S)>,
    input: &str,
) -> Output {
    run_in(&std::env::temp_dir(), arguments, settings, input)
}

/// Returns each command of the binary with its complete help, subcommands after their command.
pub fn help_pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect_help_pages(&[], &mut pages);
    pages
}

fn collect_help_pages(command: &[&str], pages: &mut Vec<(String, String)>) {
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let output = run(&arguments, [("NO_COLOR", "1")], "");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {text}");
    let name = ["latchkey"].iter().chain(command).copied();
    pages.push((name.collect::<Vec<_>>().join(" "), text.clone()));
    let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in names {
        let subcommand: Vec<&str> = command.iter().copied().chain([name]).collect();
        collect_help_pages(&subcommand, pages);
    }
}
