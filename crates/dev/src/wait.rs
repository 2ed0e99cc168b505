use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Short enough that nobody notices, long enough to cost no CPU.
const STEP: Duration = Duration::from_millis(10);

/// Whether `condition` came true within `limit`. It is asked at least once.
pub(super) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        sleep(STEP);
    }
    true
}
