//! The commands of the binary, each run until it ends.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Runs a command in a folder, with these settings alone and this standard input.
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
        .expect("the binary runs");
    // A command that reads no input might have ended already.
    let _ = child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes());
    let pid = Pid::from_child(&child);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.expect("it can be waited for"),
        Err(_) => {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
            panic!("it should have ended by itself: {arguments:?}")
        }
    }
}

/// The same in a folder without files of settings.
pub fn run<S: AsRef<OsStr>>(
    arguments: &[&str],
    settings: impl IntoIterator<Item = (S, S)>,
    input: &str,
) -> Output {
    run_in(&std::env::temp_dir(), arguments, settings, input)
}
