//! A member of the revocation log that never acknowledges an entry. Revocations wait for the drain
//! period, as with a suspended replica, so that this wait is measured without a test setting in the
//! product.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use uuid::Uuid;

use crate::{Outcome, redis, redis::Redis, stores::Stores};

/// Shorter than the 312 ms without a renewal after which a member is reaped.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(50);

/// A registered member until this value is dropped.
pub struct SilentMember {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SilentMember {
    /// Registers the member, and renews it in the background.
    pub fn register(stores: &Stores) -> Outcome<SilentMember> {
        let (mut redis, field) = (
            stores.redis()?,
            format!("member:{}", Uuid::new_v4().simple()),
        );
        renew(&mut redis, &field)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let keep_renewing = move || {
            // If Redis fails, the run fails as well.
            while !is_stopped.load(Ordering::Relaxed) && renew(&mut redis, &field).is_ok() {
                thread::sleep(RENEWAL_INTERVAL);
            }
            let _ = redis.query::<u64>(&["HDEL", &redis::state_key(), &field]);
        };
        Ok(SilentMember {
            stopped,
            thread: Some(thread::spawn(keep_renewing)),
        })
    }
}

impl Drop for SilentMember {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The thread does not panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Writes a new renewal number and the position before the first entry.
fn renew(redis: &mut Redis, field: &str) -> Outcome<()> {
    let number: u64 = redis.query(&["HINCRBY", &redis::state_key(), "renewal_counter", "1"])?;
    redis
        .query::<u64>(&["HSET", &redis::state_key(), field, &format!("0:{number}")])
        .map(drop)
}
