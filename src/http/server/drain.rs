//! Closes connections while the server drains.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::header::{CONNECTION, HeaderValue};
use tokio::time::Instant;

use crate::http::server::HyperResponse;

/// Time without requests after which idle connections are closed. By then, a proxy that can open no
/// new connections uses another replica, or has used its remaining connections.
const IDLE_PERIOD: Duration = Duration::from_millis(500);

/// Upper bound on waiting for idle connections. With many idle connections, occasional requests can
/// keep extending the idle period.
const MAX_IDLE_WAIT: Duration = Duration::from_secs(5);

/// State of the drain, shared by all connections.
pub struct Drain {
    is_draining: AtomicBool,
    /// Arrival of the last request. It is updated only while draining.
    last_request: Mutex<Instant>,
}

impl Drain {
    pub fn new() -> Drain {
        Drain {
            is_draining: AtomicBool::new(false),
            last_request: Mutex::new(Instant::now()),
        }
    }

    /// Starts the drain. From then on, each response closes its connection.
    pub fn begin(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Records the arrival of a request while draining.
    pub fn record_arrival(&self) {
        if self.is_draining.load(Ordering::Relaxed) {
            *self.last_request.lock().expect("no panic while locked") = Instant::now();
        }
    }

    /// Sets `Connection: close` while draining (RFC 9112 section 9.6).
    pub fn set_connection_close(&self, response: &mut HyperResponse) {
        if self.is_draining.load(Ordering::Relaxed) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Waits until no request has arrived for an idle period of at most `max_period`.
    pub async fn wait_idle(&self, max_period: Duration) {
        let started = Instant::now();
        loop {
            let last_request = *self.last_request.lock().expect("no panic while locked");
            let deadline = idle_deadline(started, last_request, max_period);
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// Returns the end of the idle period, which starts with the drain or with the last request,
/// whichever is later.
fn idle_deadline(started: Instant, last_request: Instant, max_period: Duration) -> Instant {
    (last_request.max(started) + IDLE_PERIOD.min(max_period)).min(started + MAX_IDLE_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_period_is_limited_by_maximum_period() {
        let started = Instant::now();
        let before = started - IDLE_PERIOD;
        for max_period in [Duration::ZERO, IDLE_PERIOD / 2, IDLE_PERIOD] {
            assert_eq!(
                idle_deadline(started, before, max_period),
                started + max_period
            );
        }
        assert_eq!(
            idle_deadline(started, before, IDLE_PERIOD * 9),
            started + IDLE_PERIOD
        );
    }

    #[test]
    fn requests_extend_idle_period_up_to_maximum_wait() {
        let started = Instant::now();
        let late = started + IDLE_PERIOD / 2;
        assert_eq!(
            idle_deadline(started, late, IDLE_PERIOD),
            late + IDLE_PERIOD
        );
        for delay in [MAX_IDLE_WAIT, MAX_IDLE_WAIT * 2] {
            assert_eq!(
                idle_deadline(started, started + delay, IDLE_PERIOD),
                started + MAX_IDLE_WAIT
            );
        }
    }
}
