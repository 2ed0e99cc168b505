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
