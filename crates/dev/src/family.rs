//! Inspects and signals processes that the supervisor didn't start: the children of a store, and
//! the stores of an earlier run.

use rustix::process::{Pid, Signal, kill_process};

pub(super) fn is_running(pid: Pid) -> bool {
    list_processes()
        .iter()
        .any(|process| process.pid == pid && !process.has_exited())
}

pub(super) fn is_stopped(pid: Pid) -> bool {
    list_processes()
        .iter()
        .any(|process| process.pid == pid && process.state == 'T')
}

pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let is_child = |process: &ProcessEntry| {
        process.parent == parent.as_raw_nonzero().get() && !process.has_exited()
    };
    list_processes()
        .iter()
        .filter(|process| is_child(process))
        .map(|process| process.pid)
        .collect()
}

/// Sends the signal, and ignores errors, because the process might already have exited.
pub(super) fn send_signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

struct ProcessEntry {
    pid: Pid,
    parent: i32,
    state: char,
}

impl ProcessEntry {
    /// Returns whether the process has exited.
    ///
    /// A zombie counts, because it has released its resources and only waits for its parent.
    fn has_exited(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(target_os = "linux")]
fn list_processes() -> Vec<ProcessEntry> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| read_entry(entry.file_name().to_str()?))
        .collect()
}

/// Parses `/proc/PID/stat`, like `123 (name) S 1 …`; the name can contain any characters.
#[cfg(target_os = "linux")]
fn read_entry(pid: &str) -> Option<ProcessEntry> {
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(ProcessEntry {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

/// Returns whether the process was started with exactly this argument.
///
/// Every process can read the command line. Root in a container can't read the working directory.
#[cfg(target_os = "linux")]
pub(super) fn has_argument(pid: Pid, argument: &std::ffi::OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|part| part == argument.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn list_processes() -> Vec<ProcessEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let pid = Pid::from_raw(fields.next()?.parse().ok()?)?;
        Some(ProcessEntry {
            pid,
            parent: fields.next()?.parse().ok()?,
            state: fields.next()?.chars().next()?,
        })
    };
    run_ps(&["-axo", "pid=,ppid=,state="])
        .lines()
        .filter_map(entry)
        .collect()
}

/// Returns whether the command line contains this text; `ps` doesn't separate arguments.
#[cfg(not(target_os = "linux"))]
pub(super) fn has_argument(pid: Pid, argument: &std::ffi::OsStr) -> bool {
    let line = run_ps(&["-ww", "-o", "command=", "-p", &pid.to_string()]);
    argument
        .to_str()
        .is_some_and(|argument| line.contains(argument))
}

#[cfg(not(target_os = "linux"))]
fn run_ps(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ps").args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
