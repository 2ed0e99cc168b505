//! The activity writer: writes rotation counters, times, and IP addresses of sessions to PostgreSQL
//! in batches, at most a second late, so that a refresh costs PostgreSQL almost nothing.
//!
//! Updates that can't be written are kept and retried. A session that turns out to be revoked is
//! published again, because its refresh shows that Redis lacked the revocation.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use latchkey_domain::revocation::{RevocationBatch, RevocationReason};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    app::revocation::Revocations,
    error::{Chain, Error},
    postgres::{Postgres, SessionActivity},
};

/// The delay before each write. A session that is refreshed twice meanwhile is written once.
const WRITE_DELAY: Duration = Duration::from_millis(500);

/// Sessions that can wait. Refreshes stop beyond this number, because an unwritten refresh would
/// not survive a loss of Redis.
const MAX_PENDING_SESSIONS: usize = 100_000;

/// Rows per statement.
const ROWS_PER_WRITE: usize = 1_000;

/// Writes session activity.
pub struct SessionActivityWriter {
    postgres: Arc<Postgres>,
    revocations: Arc<Revocations>,
    pending: PendingActivity,
    /// Notified when an update was added.
    ready: Notify,
    /// Held from taking a batch until it is written or returned.
    writing: tokio::sync::Mutex<()>,
}

/// Updates that wait to be written, by session.
#[derive(Default)]
struct PendingActivity(Mutex<HashMap<Uuid, SessionActivity>>);

impl PendingActivity {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, SessionActivity>> {
        self.0.lock().expect("no holder panics")
    }

    /// Merges an update: keeps the higher counter and the later timestamp.
    fn merge(&self, updates: impl IntoIterator<Item = SessionActivity>) {
        let mut pending = self.lock();
        for update in updates {
            let merged = pending
                .entry(update.session_id)
                .or_insert_with(|| update.clone());
            merged.counter = merged.counter.max(update.counter);
            if update.at > merged.at {
                (merged.at, merged.address) = (update.at, update.address);
            }
        }
    }

    /// Removes at most one batch.
    fn take(&self) -> Vec<SessionActivity> {
        let mut pending = self.lock();
        let session_ids: Vec<Uuid> = pending.keys().take(ROWS_PER_WRITE).copied().collect();
        session_ids
            .iter()
            .filter_map(|session_id| pending.remove(session_id))
            .collect()
    }
}

impl SessionActivityWriter {
    pub(crate) fn new(
        postgres: Arc<Postgres>,
        revocations: Arc<Revocations>,
    ) -> SessionActivityWriter {
        SessionActivityWriter {
            postgres,
            revocations,
            pending: PendingActivity::default(),
            ready: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether refreshes must stop until updates are written.
    pub(crate) fn is_full(&self) -> bool {
        self.pending_count() >= MAX_PENDING_SESSIONS
    }

    /// The number of sessions whose activity isn't written yet.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.lock().len()
    }

    /// Adds an update.
    pub(crate) fn add(&self, update: SessionActivity) {
        self.pending.merge([update]);
        self.ready.notify_one();
    }

    /// Writes updates until the process exits.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            self.ready.notified().await;
            tokio::time::sleep(WRITE_DELAY).await;
            match self.write_pending().await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = %Chain(&error),
                            "writing session activity failed; retrying"
                        );
                    }
                    self.ready.notify_one();
                }
            }
        }
    }

    /// Writes all updates, including those of a write in progress that fails.
    ///
    /// # Errors
    /// `unavailable`; the updates are kept.
    pub(crate) async fn write_pending(&self) -> Result<(), Error> {
        loop {
            let guard = self.writing.lock().await;
            let batch = self.pending.take();
            if batch.is_empty() {
                return Ok(());
            }
            match self.postgres.save_session_activity(&batch).await {
                Ok(live) => {
                    drop(guard);
                    self.republish_revoked(&batch, &live).await;
                }
                Err(error) => {
                    self.pending.merge(batch);
                    return Err(error);
                }
            }
        }
    }

    /// Publishes the revocation of sessions again that were active but are revoked in PostgreSQL.
    async fn republish_revoked(&self, batch: &[SessionActivity], live: &[Uuid]) {
        for update in batch
            .iter()
            .filter(|update| !live.contains(&update.session_id))
        {
            // Usually the session was revoked after the activity, and Redis knows: then this
            // changes nothing.
            let revoked = RevocationBatch::of_sessions(
                update.user_id,
                &[update.session_id],
                RevocationReason::Revoked,
            );
            // If this fails, the republish worker finds the row.
            let _ = self.revocations.try_publish(&revoked).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn update(counter: u64, second: i64, address: &str) -> SessionActivity {
        SessionActivity {
            user_id: Uuid::nil(),
            session_id: Uuid::nil(),
            counter,
            at: OffsetDateTime::from_unix_timestamp(second).unwrap(),
            address: address.to_owned(),
        }
    }

    #[test]
    fn failed_write_keeps_later_update() {
        let pending = PendingActivity::default();
        pending.merge([update(1, 10, "a")]);
        let batch = pending.take();
        pending.merge([update(2, 20, "b")]);
        pending.merge(batch);
        let left = pending.take();
        assert_eq!(
            (left.len(), left[0].counter, left[0].address.as_str()),
            (1, 2, "b")
        );
        assert!(pending.lock().is_empty());
    }
}
