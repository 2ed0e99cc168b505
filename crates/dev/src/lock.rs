//! `.latchkey/lock`: limits a folder to one `latchkey-dev`, and contains its process ID and URL.
//!
//! The kernel releases the lock when the process exits for any reason. The content without the lock
//! proves nothing, because it stays in the file.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use rustix::process::Pid;

use super::{Error, shell_commands::stop_command, wait::wait_until};

/// Timeout of the lock, within which a killed run or a reader of the lock releases it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// The process that holds the lock.
pub(super) struct Holder {
    pub pid: Pid,
    pub url: String,
    pub ready: bool,
}

impl Lock {
    pub fn acquire(directory: &Path) -> Result<Self, Error> {
        let path = lock_path(directory);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(Error::cannot("write", &path))?;
        if !wait_until(LOCK_TIMEOUT, || file.try_lock().is_ok()) {
            return Err(already_running_error(directory));
        }
        let lock = Self { file, path };
        lock.write_state("", false)?;
        Ok(lock)
    }

    /// Writes the process ID, the URL, and the state for other processes.
    pub fn write_state(&self, url: &str, ready: bool) -> Result<(), Error> {
        let state = if ready { "ready" } else { "starting" };
        let text = format!("{}\n{url}\n{state}\n", process::id());
        let write = || {
            self.file.set_len(0)?;
            self.file.write_all_at(text.as_bytes(), 0)
        };
        write().map_err(Error::cannot("write", &self.path))
    }
}

/// Creates the error of a second `latchkey-dev` in one folder.
pub(super) fn already_running_error(directory: &Path) -> Error {
    let holder = find_holder(directory);
    let pid = holder
        .as_ref()
        .map(|holder| format!(" (process {})", holder.pid))
        .unwrap_or_default();
    let url = holder
        .map(|holder| holder.url)
        .filter(|url| !url.is_empty());
    let location = url.map(|url| format!(" at {url}")).unwrap_or_default();
    Error::new(format!(
        "Latchkey already runs{location} with the data in {}{pid}",
        directory.display()
    ))
    .hint(format!("stop it:  {}", stop_command(directory)))
}

/// Reads the process that holds the lock, or returns `None` if no process holds it.
pub(super) fn find_holder(directory: &Path) -> Option<Holder> {
    let path = lock_path(directory);
    let mut found = None;
    // The holder writes the file only after it acquires the lock, so retry until it is complete.
    wait_until(LOCK_TIMEOUT, || {
        if !is_locked(&path) {
            return true;
        }
        found = fs::read_to_string(&path)
            .ok()
            .and_then(|text| parse_holder(&text));
        found.is_some()
    });
    found
}

/// Returns whether a process holds the lock.
///
/// The check uses a shared lock, because an exclusive one would make readers detect each other.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn parse_holder(text: &str) -> Option<Holder> {
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.parse().ok()?)?;
    Some(Holder {
        pid,
        url: lines.next()?.into(),
        ready: lines.next()? == "ready",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_holder_is_found_while_locked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            find_holder(folder.path()).is_none(),
            "no holder without a file"
        );
        let lock = Lock::acquire(folder.path()).unwrap();
        lock.write_state("http://127.0.0.1:8000", true).unwrap();
        let found = find_holder(folder.path()).expect("a holder");
        assert_eq!(
            (found.pid.as_raw_nonzero().get() as u32, found.ready),
            (process::id(), true)
        );
        let error = Lock::acquire(folder.path())
            .err()
            .expect("an error for a locked folder")
            .to_string();
        assert!(
            error.contains("http://127.0.0.1:8000") && error.contains("--down"),
            "{error}"
        );
        drop(lock);
        assert!(
            find_holder(folder.path()).is_none(),
            "no holder after the release"
        );
        Lock::acquire(folder.path()).unwrap();
    }
}
