//! Inspects and signals the processes of the system.

use std::process::Command;

pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub state: char,
}

/// Sends a signal with the shell's built-in `kill`, because small images contain no other one.
pub fn send(signal: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status();
    assert!(
        status.expect("a shell").success(),
        "process {pid} doesn't exist"
    );
}

#[cfg(target_os = "linux")]
pub fn list_processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc")
        .expect("`/proc` is mounted")
        .flatten();
    let parse = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse(pid, stat.rsplit_once(')')?.1)
    };
    entries
        .filter_map(|entry| parse(entry.file_name().to_str()?))
        .collect()
}

#[cfg(not(target_os = "linux"))]
pub fn list_processes() -> Vec<Process> {
    let output = Command::new("ps")
        .args(["-axo", "pid=,state=,ppid="])
        .output()
        .expect("`ps` runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            line.trim()
                .split_once(' ')
                .and_then(|(pid, rest)| parse(pid, rest))
        })
        .collect()
}

/// Parses the fields after the process ID: the state and the parent.
fn parse(pid: &str, rest: &str) -> Option<Process> {
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Process {
        pid: pid.parse().ok()?,
        state,
        parent: fields.next()?.parse().ok()?,
    })
}

pub fn children(pid: u32) -> Vec<u32> {
    list_processes()
        .iter()
        .filter(|process| process.parent == pid)
        .map(|process| process.pid)
        .collect()
}

/// Returns all direct and indirect children.
pub fn descendants(pid: u32) -> Vec<u32> {
    let direct = children(pid);
    let further: Vec<_> = direct
        .iter()
        .flat_map(|child| descendants(*child))
        .collect();
    [direct, further].concat()
}

/// Returns whether all processes have exited. A zombie counts as exited.
pub fn have_exited(pids: &[u32]) -> bool {
    !list_processes()
        .iter()
        .any(|process| pids.contains(&process.pid) && process.state != 'Z')
}

pub fn is_stopped(pid: u32) -> bool {
    list_processes()
        .iter()
        .any(|process| process.pid == pid && process.state == 'T')
}
