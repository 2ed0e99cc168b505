use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Interval of the checks, which adds no noticeable delay and needs little CPU time.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls until `condition` is true or `limit` has passed, and returns whether it became true.
///
/// The condition is checked at least once.
pub(super) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL_INTERVAL);
    }
    true
}
