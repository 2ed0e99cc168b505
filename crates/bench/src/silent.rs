//! A member of the revocation log that never says how far it is: whoever takes something back has
//! to wait until no lease can be left, as with a replica that hangs. So the wait is measured
//! without a knob in the product.

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

/// Often enough that nobody takes it for dead, which it is after 312 ms without a new beat.
const BEAT: Duration = Duration::from_millis(50);

/// It is a member until this is dropped.
pub struct Silent {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Silent {
    /// Joins.
    pub fn join(stores: &Stores) -> Outcome<Silent> {
        let (mut redis, field) = (
            stores.redis()?,
            format!("member:{}", Uuid::new_v4().simple()),
        );
        beat(&mut redis, &field)?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let live = move || {
            // When Redis is gone the run has failed anyway.
            while !ended.load(Ordering::Relaxed) && beat(&mut redis, &field).is_ok() {
                thread::sleep(BEAT);
            }
            let _ = redis.ask::<u64>(&["HDEL", &redis::state_key(), &field]);
        };
        Ok(Silent {
            over,
            thread: Some(thread::spawn(live)),
        })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It panics nowhere.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A number that never comes again, and the position before the first entry.
fn beat(redis: &mut Redis, field: &str) -> Outcome<()> {
    let number: u64 = redis.ask(&["HINCRBY", &redis::state_key(), "renewal_counter", "1"])?;
    redis
        .ask::<u64>(&["HSET", &redis::state_key(), field, &format!("0:{number}")])
        .map(drop)
}
