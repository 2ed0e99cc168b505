//! Stops the stores of a killed run.
//!
//! Such a store might still be shutting down, or it might be paused and unable to handle signals.

use std::{ffi::OsStr, fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal};

use super::{family, interrupt, wait::wait_until};

/// Timeout after each signal.
///
/// A fast shutdown of PostgreSQL writes a checkpoint, which takes seconds on a slow disk.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Stops the process in `pid_file` if it is a server that uses `data`. After a stop request,
/// doesn't wait for it.
///
/// If another program reuses the process ID, the file is removed. Otherwise PostgreSQL would assume
/// that a server is running, and wouldn't start. The file of an exited process stays, because
/// PostgreSQL uses it to find shared memory that is still in use.
pub(super) fn stop(pid_file: &Path, data: &OsStr, stop_signals: &[Signal]) {
    let Some(pid) = read_pid(pid_file).filter(|pid| family::is_running(*pid)) else {
        return;
    };
    if !family::has_argument(pid, data) {
        let _ = fs::remove_file(pid_file);
        return;
    }
    for stop_signal in stop_signals.iter().chain([&Signal::KILL]) {
        family::send_signal(pid, *stop_signal);
        for pid in family::children_of(pid).into_iter().chain([pid]) {
            family::send_signal(pid, Signal::CONT);
        }
        if wait_until(STOP_TIMEOUT, || {
            !family::is_running(pid) || interrupt::is_requested()
        }) {
            return;
        }
    }
}

fn read_pid(file: &Path) -> Option<Pid> {
    Pid::from_raw(
        fs::read_to_string(file)
            .ok()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()?,
    )
}
