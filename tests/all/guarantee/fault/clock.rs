//! The wall clock of a replica steps while it runs.

use std::{fs, process::Command, sync::Arc};

use tempfile::TempDir;
use time::OffsetDateTime;

use crate::{
    guarantee::{
        fleet::{Fleet, REPLICA_COUNT},
        load::Load,
    },
    test_server::wait_until,
};

/// The length of a step in seconds. The clocks of two replicas differ by at most twice as much,
/// because a clock of a replica stops after a step backward. The default of `LATCHKEY_CLOCK_SKEW`
/// is larger.
const STEP_SECONDS: i64 = 2;

/// The wall clock of one replica. Its offset from the system clock is in a file for libfaketime.
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
    fn set_offset(&self, seconds: i64) {
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

/// Steps the clock of one replica forward or backward. When the replica issues tokens with this
/// time, which all replicas must accept, its clock steps back.
pub async fn step(fleet: &Fleet, load: &Arc<Load>, round: usize) {
    let replica = &fleet.replicas[round % REPLICA_COUNT];
    let clock = replica.clock.as_ref().expect("a clock");
    let offset = if round.is_multiple_of(2) {
        STEP_SECONDS
    } else {
        -STEP_SECONDS
    };
    clock.set_offset(offset);
    // The clock of the server never runs backward, so it reaches a time in the past later.
    wait_until("the replica issues tokens with this time", || async {
        let before = OffsetDateTime::now_utc().unix_timestamp();
        let difference = load.revoke_issued_token(&replica.server).await - before;
        difference.signum() == offset.signum() && difference.abs() >= STEP_SECONDS - 1
    })
    .await;
    clock.set_offset(0);
}
