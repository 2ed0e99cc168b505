//! The wall clock, which never runs backwards here: a token that has expired once does not live
//! again because somebody set the clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use latchkey_domain::revocation::lease::BootTime;
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

/// Milliseconds since the epoch, the latest that was seen.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        let read = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        self.0.fetch_max(read, Ordering::Relaxed).max(read)
    }

    /// Seconds since the epoch, as tokens count them.
    pub fn now(&self) -> u64 {
        self.now_ms() / 1000
    }
}

/// A clock that never stops, not even while the machine is suspended: leases are counted by it.
pub fn uptime() -> BootTime {
    // On macOS the monotonic clock counts sleep; on Linux it does not.
    #[cfg(target_os = "linux")]
    let id = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    let now = clock_gettime(id);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    // Of a clock that begins with the machine, neither is negative.
    seconds.unwrap_or(0) * 1_000_000_000 + nanoseconds.unwrap_or(0)
}

/// A moment in milliseconds, as the record stores it. One that no calendar has is the epoch: long
/// over.
pub fn moment(milliseconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_runs_backwards() {
        let clock = Clock(AtomicU64::new(u64::MAX - 1));
        assert_eq!(clock.now_ms(), u64::MAX - 1);
    }
}
