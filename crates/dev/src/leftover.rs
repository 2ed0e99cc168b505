//! A store of a killed run, which may need a moment to finish, or was standing still when it was
//! told to end.

use std::{ffi::OsStr, fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal};

use super::{family, wait::until};

/// A fast shutdown writes a checkpoint; on a slow disk that takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the process named in `pid_file` if it really is a server on `data`.
///
/// A number that belongs to somebody else by now is forgotten, because PostgreSQL takes it for a
/// running server and does not start. That of a dead process stays: PostgreSQL looks there for
/// memory that is still in use.
pub(super) fn end(pid_file: &Path, data: &OsStr, farewells: &[Signal]) {
    let Some(pid) = pid_in(pid_file).filter(|pid| family::is_running(*pid)) else {
        return;
    };
    if !family::has_argument(pid, data) {
        let _ = fs::remove_file(pid_file);
        return;
    }
    for farewell in farewells.iter().chain([&Signal::KILL]) {
        family::signal(pid, *farewell);
        for pid in family::children_of(pid).into_iter().chain([pid]) {
            family::signal(pid, Signal::CONT);
        }
        if until(PATIENCE, || !family::is_running(pid)) {
            return;
        }
    }
}

fn pid_in(file: &Path) -> Option<Pid> {
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
