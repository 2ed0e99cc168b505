//! The batched writer: how often sessions were refreshed, when and from where, goes into the record
//! at most a second late and many at a time, so that a refresh costs the record next to nothing.
//!
//! What cannot be written is kept and tried again. A session that turns out to have ended meanwhile
//! is published again: whoever refreshed it has shown that Redis did not know.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use latchkey_domain::revocation::{Reason, RevocationBatch};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    app::Gateway,
    error::{Chain, Error},
    postgres::SessionActivity,
};

/// Between two writes: with the write itself, a second at most. A session that is refreshed twice
/// meanwhile is written once.
const WRITE_INTERVAL: Duration = Duration::from_millis(500);

/// Sessions that may wait. With PostgreSQL down for long, refreshing stops here: an unrecorded
/// refresh would not survive a loss of Redis.
const MAX_PENDING_SESSIONS: usize = 100_000;

/// Rows of one write.
const ROWS_PER_WRITE: usize = 1_000;

/// What waits to be written, by session.
#[derive(Default)]
pub struct SessionActivityWriter {
    waiting: Mutex<HashMap<Uuid, SessionActivity>>,
    bell: Notify,
    /// Held while a batch is neither waiting nor written.
    writing: tokio::sync::Mutex<()>,
}

impl SessionActivityWriter {
    /// Whether a further refresh must not be made.
    pub fn is_full(&self) -> bool {
        self.waiting() >= MAX_PENDING_SESSIONS
    }

    /// How many wait, for the metrics.
    pub fn waiting(&self) -> usize {
        self.waiting
            .lock()
            .expect("nothing panics while it is held")
            .len()
    }

    /// Notes what was seen of a session; of two sights the larger counter and the later moment
    /// stay.
    pub fn note(&self, seen: SessionActivity) {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it is held");
        merge(&mut waiting, seen);
        drop(waiting);
        self.bell.notify_one();
    }

    /// Takes what waits, at most one batch.
    fn take(&self) -> Vec<SessionActivity> {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it is held");
        let sids: Vec<Uuid> = waiting.keys().take(ROWS_PER_WRITE).copied().collect();
        sids.iter().filter_map(|sid| waiting.remove(sid)).collect()
    }

    fn put_back(&self, batch: Vec<SessionActivity>) {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it is held");
        batch.into_iter().for_each(|seen| merge(&mut waiting, seen));
    }
}

fn merge(waiting: &mut HashMap<Uuid, SessionActivity>, seen: SessionActivity) {
    let known = waiting.entry(seen.sid).or_insert_with(|| seen.clone());
    known.counter = known.counter.max(seen.counter);
    if seen.at > known.at {
        (known.at, known.address) = (seen.at, seen.address);
    }
}

impl Gateway {
    /// Writes what was seen of sessions until the process ends.
    pub async fn run_activity_worker(self: Arc<Self>) {
        let mut failing = false;
        loop {
            self.activity.bell.notified().await;
            tokio::time::sleep(WRITE_INTERVAL).await;
            match self.write_pending_activity().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            error = %Chain(&error),
                            "writing session activity failed; retrying"
                        );
                    }
                    self.activity.bell.notify_one();
                }
            }
        }
    }

    /// Writes all that waits, also what a write under way could not.
    pub(crate) async fn write_pending_activity(&self) -> Result<(), Error> {
        loop {
            let alone = self.activity.writing.lock().await;
            let batch = self.activity.take();
            if batch.is_empty() {
                return Ok(());
            }
            match self.postgres.save_session_activity(&batch).await {
                Ok(live) => {
                    drop(alone);
                    self.republish_revoked(&batch, &live).await;
                }
                Err(error) => {
                    self.activity.put_back(batch);
                    return Err(error);
                }
            }
        }
    }

    /// Publishes again what has ended in the record, and was seen alive all the same.
    async fn republish_revoked(&self, batch: &[SessionActivity], live: &[Uuid]) {
        for seen in batch.iter().filter(|seen| !live.contains(&seen.sid)) {
            // Mostly it ended after it was seen, and Redis knows: then this changes nothing.
            let ending = RevocationBatch::of_sessions(seen.sub, &[seen.sid], Reason::Revoked);
            // If this fails, the publisher finds the row of the ending.
            let _ = self.try_publish(&ending).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn seen(counter: u64, second: i64, address: &str) -> SessionActivity {
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap();
        SessionActivity {
            sub: Uuid::nil(),
            sid: Uuid::nil(),
            counter,
            at,
            address: address.to_owned(),
        }
    }

    #[test]
    fn what_could_not_be_written_does_not_undo_what_came_after() {
        let activity = SessionActivityWriter::default();
        activity.note(seen(1, 10, "a"));
        let batch = activity.take();
        activity.note(seen(2, 20, "b"));
        activity.put_back(batch);
        let left = activity.take();
        assert_eq!(
            (left.len(), left[0].counter, left[0].address.as_str()),
            (1, 2, "b")
        );
        assert_eq!(activity.waiting(), 0);
    }
}
