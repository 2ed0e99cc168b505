//! What the system knows about processes that we did not start ourselves: a store's children, a
//! former run's store.

use rustix::process::{Pid, Signal, kill_process};

pub(super) fn is_running(pid: Pid) -> bool {
    table()
        .iter()
        .any(|process| process.pid == pid && !process.is_over())
}

pub(super) fn is_stopped(pid: Pid) -> bool {
    table()
        .iter()
        .any(|process| process.pid == pid && process.state == 'T')
}

pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let children =
        |process: &Entry| process.parent == parent.as_raw_nonzero().get() && !process.is_over();
    table()
        .iter()
        .filter(|process| children(process))
        .map(|process| process.pid)
        .collect()
}

/// A process that is gone already has what we wanted, hence no result.
pub(super) fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

struct Entry {
    pid: Pid,
    parent: i32,
    state: char,
}

impl Entry {
    /// A zombie has released everything; only its parent has not noticed yet.
    fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(target_os = "linux")]
fn table() -> Vec<Entry> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry_of(entry.file_name().to_str()?))
        .collect()
}

/// `123 (name, which may hold anything) S 1 …`
#[cfg(target_os = "linux")]
fn entry_of(pid: &str) -> Option<Entry> {
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(Entry {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

/// Whether the process was started with exactly this argument.
///
/// The command line is public, unlike the working directory, which root cannot read in a container.
#[cfg(target_os = "linux")]
pub(super) fn has_argument(pid: Pid, argument: &std::ffi::OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|one| one == argument.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn table() -> Vec<Entry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let pid = Pid::from_raw(fields.next()?.parse().ok()?)?;
        Some(Entry {
            pid,
            parent: fields.next()?.parse().ok()?,
            state: fields.next()?.chars().next()?,
        })
    };
    ps(&["-axo", "pid=,ppid=,state="])
        .lines()
        .filter_map(entry)
        .collect()
}

/// Whether the process was started with this argument, as far as `ps` tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn has_argument(pid: Pid, argument: &std::ffi::OsStr) -> bool {
    let line = ps(&["-ww", "-o", "command=", "-p", &pid.to_string()]);
    argument
        .to_str()
        .is_some_and(|argument| line.contains(argument))
}

#[cfg(not(target_os = "linux"))]
fn ps(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ps").args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
