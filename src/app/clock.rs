//! The clocks: a wall clock that never runs backward, and a clock that counts suspension.
//!
//! If the system clock is set to an earlier time, an expired token must not become valid again.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use latchkey_domain::revocation::lease::BootTime;
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

/// A monotonic wall clock. It stores the latest time that was read, in ms since the epoch.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Returns the milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        let read = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        self.0.fetch_max(read, Ordering::Relaxed).max(read)
    }

    /// Returns the seconds since the epoch, the unit of times in tokens (`NumericDate`, RFC 7519).
    pub fn now(&self) -> u64 {
        self.now_ms() / 1000
    }
}

/// Returns the time since boot, including suspension. Leases are measured with it, because a lease
/// must expire while the machine is suspended.
pub fn boot_time() -> BootTime {
    // On macOS, the monotonic clock includes suspension; on Linux, it doesn't.
    #[cfg(target_os = "linux")]
    let id = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    let now = clock_gettime(id);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    // The clock starts at boot, so neither value is negative.
    seconds.unwrap_or(0) * 1_000_000_000 + nanoseconds.unwrap_or(0)
}

/// Converts milliseconds since the epoch to a timestamp for PostgreSQL. Out-of-range values become
/// the epoch, so that they count as expired.
pub fn timestamp_from_ms(milliseconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_never_runs_backward() {
        let clock = Clock(AtomicU64::new(u64::MAX - 1));
        assert_eq!(clock.now_ms(), u64::MAX - 1);
    }
}
