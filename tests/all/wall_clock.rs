//! Wall clocks of servers, which differ from that of the machine.

use std::{fs, process::Command};

use tempfile::TempDir;

/// The wall clock of one server. Its offset from the system clock is in a file for libfaketime.
pub struct WallClock(TempDir);

impl WallClock {
    pub fn new() -> WallClock {
        let clock = WallClock(tempfile::tempdir().expect("a new folder"));
        clock.set_offset(0);
        clock
    }

    /// Returns the environment variables with which a program uses this clock. The monotonic clock
    /// and the time since boot are not changed.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", find_library()),
            ("FAKETIME_TIMESTAMP_FILE", self.file("offset")),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Sets the offset in seconds. A replaced file is never read before it is complete.
    pub fn set_offset(&self, seconds: i64) {
        fs::write(self.file("new"), format!("{seconds:+}\n")).expect("a file");
        fs::rename(self.file("new"), self.file("offset")).expect("a replaced file");
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// Returns the path of the library for programs with threads.
fn find_library() -> String {
    let output = Command::new("faketime")
        .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .expect("faketime is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
