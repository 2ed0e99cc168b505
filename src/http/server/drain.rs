//! How connections end when the process is to.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::header::{CONNECTION, HeaderValue};
use tokio::time::Instant;

use crate::http::server::Answer;

/// After such a silence hardly anybody sends on a connection that was kept: a proxy that is refused
/// new ones turns away, or has used those up.
const IDLE_PERIOD: Duration = Duration::from_millis(500);

/// Where there is never such a silence, because few requests come and many connections were kept,
/// so long.
const MAX_IDLE_WAIT: Duration = Duration::from_secs(5);

/// What connections know of it.
pub struct Drain {
    is_begun: AtomicBool,
    /// When the last request came; only kept once it has begun.
    last_request: Mutex<Instant>,
}

impl Drain {
    /// Not yet.
    pub fn new() -> Drain {
        Drain {
            is_begun: AtomicBool::new(false),
            last_request: Mutex::new(Instant::now()),
        }
    }

    /// From now on each answer ends its connection.
    pub fn begin(&self) {
        self.is_begun.store(true, Ordering::Relaxed);
    }

    /// A request has come.
    pub fn note(&self) {
        if self.is_begun.load(Ordering::Relaxed) {
            *self
                .last_request
                .lock()
                .expect("nothing panics while it is held") = Instant::now();
        }
    }

    /// Tells the client that there is no next request on this connection, if so (RFC 9112 section
    /// 9.6).
    pub fn set_connection_close(&self, answer: &mut Answer) {
        if self.is_begun.load(Ordering::Relaxed) {
            answer
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Until no request has come for a while, which is no longer than this.
    pub async fn wait_idle(&self, longest: Duration) {
        let began = Instant::now();
        loop {
            let last = *self
                .last_request
                .lock()
                .expect("nothing panics while it is held");
            let end = idle_deadline(began, last, longest);
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// When a silence is over that began with the last request, or with the drain, if none came; and at
/// the latest.
fn idle_deadline(began: Instant, last: Instant, longest: Duration) -> Instant {
    (last.max(began) + IDLE_PERIOD.min(longest)).min(began + MAX_IDLE_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_over_after_a_while_and_without_a_delay_at_once() {
        let began = Instant::now();
        let before = began - IDLE_PERIOD;
        for longest in [Duration::ZERO, IDLE_PERIOD / 2, IDLE_PERIOD] {
            assert_eq!(idle_deadline(began, before, longest), began + longest);
        }
        assert_eq!(
            idle_deadline(began, before, IDLE_PERIOD * 9),
            began + IDLE_PERIOD
        );
    }

    #[test]
    fn whoever_comes_makes_it_begin_anew_but_not_for_ever() {
        let began = Instant::now();
        let late = began + IDLE_PERIOD / 2;
        assert_eq!(idle_deadline(began, late, IDLE_PERIOD), late + IDLE_PERIOD);
        for last in [MAX_IDLE_WAIT, MAX_IDLE_WAIT * 2] {
            assert_eq!(
                idle_deadline(began, began + last, IDLE_PERIOD),
                began + MAX_IDLE_WAIT
            );
        }
    }
}
