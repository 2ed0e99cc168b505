use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Short enough to add no noticeable delay, long enough to use no CPU.
const STEP: Duration = Duration::from_millis(10);

/// Whether `condition` became true within `limit`. It is checked at least once.
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
