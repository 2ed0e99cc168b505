//! Group commit for the revocation log: concurrent revocations share one script. The first waiter
//! appends the entries of all waiters.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use latchkey_domain::revocation::{
    Entry, Subject,
    lease::{AppendedEntry, BootTime},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Revocations;
use crate::{
    app::clock,
    error::Error,
    redis::{AppendOutcome, PublishedEntries},
};

/// The largest number of entries per script: a few milliseconds of Redis' time.
pub(super) const MAX_ENTRIES_PER_SCRIPT: usize = 500;

/// Revocations that wait for a script.
#[derive(Default)]
pub(super) struct LogAppender {
    waiting: Mutex<Vec<Waiter>>,
    /// Held by the waiter that appends.
    turn: tokio::sync::Mutex<()>,
}

struct Waiter {
    entries: Vec<Entry>,
    result: oneshot::Sender<PublishedBatch>,
}

/// Entries in the log, and the time at which this replica received the result.
#[derive(Debug, Clone)]
pub(crate) struct PublishedBatch {
    /// The result of the script.
    pub(super) published: PublishedEntries,
    /// The time at which the result arrived.
    pub(super) appended_at: BootTime,
}

impl LogAppender {
    fn push(&self, waiter: Waiter) {
        self.waiting.lock().expect("no holder panics").push(waiter);
    }

    /// Removes the oldest waiters whose entries fit into one script, at least one.
    fn take(&self) -> Vec<Waiter> {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        let mut free = MAX_ENTRIES_PER_SCRIPT;
        let fits = |waiter: &&Waiter| {
            let fits = waiter.entries.len() <= free || free == MAX_ENTRIES_PER_SCRIPT;
            free = free.saturating_sub(waiter.entries.len());
            fits
        };
        let count = waiting.iter().take_while(fits).count();
        waiting.drain(..count).collect()
    }
}

impl Revocations {
    /// Appends entries to the log, and adds them to the revocation set of this replica.
    ///
    /// # Errors
    /// `unavailable` if Redis doesn't respond or the log is lost.
    pub(crate) async fn append(&self, entries: Vec<Entry>) -> Result<PublishedBatch, Error> {
        let (result, mut received) = oneshot::channel();
        self.appender.push(Waiter { entries, result });
        loop {
            let _turn = self.appender.turn.lock().await;
            match received.try_recv() {
                Ok(batch) => return Ok(batch),
                // Another waiter appended our entries and failed.
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(Error::unavailable("appending to the revocation log failed"));
                }
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.append_waiting(self.appender.take()).await?
                }
            }
        }
    }

    async fn append_waiting(&self, waiters: Vec<Waiter>) -> Result<(), Error> {
        let entries: Vec<Entry> = waiters
            .iter()
            .flat_map(|waiter| waiter.entries.iter().copied())
            .collect();
        let outcome = self.redis.append_entries(&entries).await?;
        let appended_at = clock::boot_time();
        let published = match outcome {
            AppendOutcome::Appended(published) => published,
            AppendOutcome::EvictionEnabled => self.publish_without_log().await?,
            AppendOutcome::Lost => {
                self.renewal_ready.notify_one();
                return Err(Error::unavailable(
                    "the revocation log is missing in Redis and is being rebuilt",
                ));
            }
        };
        self.apply_published(&entries);
        let batch = PublishedBatch {
            published,
            appended_at,
        };
        // A waiter that disconnected doesn't receive the result.
        waiters
            .into_iter()
            .for_each(|waiter| drop(waiter.result.send(batch.clone())));
        Ok(())
    }

    /// Applies entries of the log.
    pub(super) fn apply_published(&self, entries: &[Entry]) {
        self.apply(entries);
        let mut unpublished = self.unpublished();
        if !unpublished.is_empty() {
            unpublished.remove_published(entries);
        }
    }

    /// Applies committed entries that the log might lack.
    pub(super) fn apply_committed(&self, entries: &[Entry]) {
        self.apply(entries);
        let (mut unpublished, now) = (self.unpublished(), clock::boot_time());
        entries.iter().for_each(|entry| unpublished.add(entry, now));
    }

    /// Adds entries to the revocation set, and reports revoked signing keys.
    fn apply(&self, entries: &[Entry]) {
        self.set.set().apply(entries);
        for entry in entries {
            if let Subject::Key(kid) = entry.subject {
                (self.on_key_revoked)(kid);
            }
        }
    }

    /// With eviction enabled, there is no log and no lease is renewed. Returns a position that no
    /// member acknowledges, so that the caller waits for the longest lease. Then PostgreSQL decides
    /// every check, and it contains the revocation.
    async fn publish_without_log(&self) -> Result<PublishedEntries, Error> {
        let lease = self.postgres.update_max_lease(Duration::ZERO).await?;
        // A member that never acknowledges.
        let members = BTreeSet::from([Uuid::nil()]);
        Ok(PublishedEntries {
            appended: AppendedEntry {
                epoch: String::new(),
                number: u64::MAX,
                members,
            },
            lease,
        })
    }
}
