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

use super::Answer;

/// After such a silence hardly anybody sends on a connection that was kept: a proxy that is refused new ones turns away, or has
/// used those up.
const SILENCE: Duration = Duration::from_millis(500);

/// Where there is never such a silence, because few requests come and many connections were kept, so long.
const LONGEST: Duration = Duration::from_secs(5);

/// What connections know of it.
pub struct Closing {
    is_begun: AtomicBool,
    /// When the last request came; only kept once it has begun.
    last_request: Mutex<Instant>,
}

impl Closing {
    /// Not yet.
    pub fn new() -> Closing {
        Closing { is_begun: AtomicBool::new(false), last_request: Mutex::new(Instant::now()) }
    }

    /// From now on each answer ends its connection.
    pub fn begin(&self) {
        self.is_begun.store(true, Ordering::Relaxed);
    }

    /// A request has come.
    pub fn note(&self) {
        if self.is_begun.load(Ordering::Relaxed) {
            *self.last_request.lock().expect("nothing panics while it is held") = Instant::now();
        }
    }

    /// Tells the client that there is no next request on this connection, if so (RFC 9112 section 9.6).
    pub fn tell(&self, answer: &mut Answer) {
        if self.is_begun.load(Ordering::Relaxed) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Until no request has come for a while, which is no longer than this.
    pub async fn until_silent(&self, longest: Duration) {
        let silence = SILENCE.min(longest);
        let began = Instant::now();
        loop {
            let last = *self.last_request.lock().expect("nothing panics while it is held");
            let end = (last.max(began) + silence).min(began + LONGEST);
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
