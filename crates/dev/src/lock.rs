//! `.latchkey/lock`: held by the one `latchkey-dev` of a folder. It contains its process ID and URL.
//!
//! The kernel holds it and lets go when the process ends, however it ends; the text in it proves
//! nothing.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use rustix::process::Pid;

use super::{Error, banner::stop_command, wait::until};

/// A killed run, or a process that reads the lock, releases it within this time.
const MOMENTS: Duration = Duration::from_secs(1);

pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Who holds the lock.
pub(super) struct Holder {
    pub pid: Pid,
    pub address: String,
    pub ready: bool,
}

impl Lock {
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let path = path_in(directory);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(Error::cannot("write", &path))?;
        if !until(MOMENTS, || file.try_lock().is_ok()) {
            return Err(taken(directory));
        }
        let lock = Self { file, path };
        lock.tell("", false)?;
        Ok(lock)
    }

    /// Writes the state for other processes.
    pub fn tell(&self, address: &str, ready: bool) -> Result<(), Error> {
        let state = if ready { "ready" } else { "starting" };
        let text = format!("{}\n{address}\n{state}\n", process::id());
        let write = || {
            self.file.set_len(0)?;
            self.file.write_all_at(text.as_bytes(), 0)
        };
        write().map_err(Error::cannot("write", &self.path))
    }
}

/// The error of a second `latchkey-dev` in one folder.
pub(super) fn taken(directory: &Path) -> Error {
    let holder = holder(directory);
    let pid = holder
        .as_ref()
        .map(|holder| format!(" (process {})", holder.pid))
        .unwrap_or_default();
    let address = holder
        .map(|holder| holder.address)
        .filter(|address| !address.is_empty());
    let address = address
        .map(|address| format!(" at {address}"))
        .unwrap_or_default();
    Error::new(format!(
        "Latchkey already runs{address} with the data in {}{pid}",
        directory.display()
    ))
    .hint(format!("stop it with `{}`", stop_command(directory)))
}

/// `None` if no process holds it.
pub(super) fn holder(directory: &Path) -> Option<Holder> {
    let path = path_in(directory);
    let mut found = None;
    // Held but not yet written: it is being written.
    until(MOMENTS, || {
        if !is_held(&path) {
            return true;
        }
        found = fs::read_to_string(&path).ok().and_then(|text| parse(&text));
        found.is_some()
    });
    found
}

/// With a shared lock, so that two readers don't take each other for the holder.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn parse(text: &str) -> Option<Holder> {
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.parse().ok()?)?;
    Some(Holder {
        pid,
        address: lines.next()?.into(),
        ready: lines.next()? == "ready",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_known_while_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        assert!(holder(folder.path()).is_none(), "no file, no holder");
        let lock = Lock::take(folder.path()).unwrap();
        lock.tell("http://127.0.0.1:8000", true).unwrap();
        let found = holder(folder.path()).expect("it is held");
        assert_eq!(
            (found.pid.as_raw_nonzero().get() as u32, found.ready),
            (process::id(), true)
        );
        let error = Lock::take(folder.path())
            .err()
            .expect("one at a time")
            .to_string();
        assert!(
            error.contains("http://127.0.0.1:8000") && error.contains("--down"),
            "{error}"
        );
        drop(lock);
        assert!(
            holder(folder.path()).is_none(),
            "the text alone proves nothing"
        );
        Lock::take(folder.path()).unwrap();
    }
}
