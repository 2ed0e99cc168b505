//! Revocations that arrive together share a script: whoever finds nobody sending sends for all who
//! wait.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use latchkey_domain::revocation::{
    Entry,
    lease::{AppendedEntry, BootTime},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    app::{Gateway, clock},
    error::Error,
    redis::{AppendOutcome, PublishedEntries},
};

/// Entries of one script: some milliseconds of Redis' time.
pub(crate) const MAX_ENTRIES_PER_SCRIPT: usize = 500;

/// Revocations that wait for a script.
#[derive(Default)]
pub struct LogAppender {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    entries: Vec<Entry>,
    caller: oneshot::Sender<PublishedBatch>,
}

/// What is in the log, and when that was known here.
#[derive(Debug, Clone)]
pub struct PublishedBatch {
    /// What the script said.
    pub published: PublishedEntries,
    /// When its answer came.
    pub answered: BootTime,
}

impl LogAppender {
    /// The oldest of those who wait, as many as fit into one script.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it is held");
        let mut room = MAX_ENTRIES_PER_SCRIPT;
        let fits = |one: &&Waiting| {
            let fits = one.entries.len() <= room || room == MAX_ENTRIES_PER_SCRIPT;
            room = room.saturating_sub(one.entries.len());
            fits
        };
        let count = waiting.iter().take_while(fits).count();
        waiting.drain(..count).collect()
    }
}

impl Gateway {
    /// Appends entries to the log, and to memory here.
    ///
    /// # Errors
    /// `unavailable`, also where the log was lost.
    pub(crate) async fn append(&self, entries: Vec<Entry>) -> Result<PublishedBatch, Error> {
        let appender = &self.revocations.appender;
        let (caller, mut answer) = oneshot::channel();
        appender
            .waiting
            .lock()
            .expect("nothing panics while it is held")
            .push(Waiting { entries, caller });
        loop {
            let _turn = appender.turn.lock().await;
            match answer.try_recv() {
                Ok(pending) => return Ok(pending),
                // Whoever sent for us has failed, and told everybody so.
                Err(oneshot::error::TryRecvError::Closed) => return Err(not_appended()),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.append_waiting(appender.take()).await?
                }
            }
        }
    }

    async fn append_waiting(&self, batch: Vec<Waiting>) -> Result<(), Error> {
        let entries: Vec<Entry> = batch
            .iter()
            .flat_map(|one| one.entries.iter().copied())
            .collect();
        let revoked = self.redis.revoke(&entries).await?;
        let answered = clock::uptime();
        let published = match revoked {
            AppendOutcome::Appended(published) => published,
            AppendOutcome::EvictionEnabled => self.wait_for_longest_lease().await?,
            AppendOutcome::Lost => {
                self.revocations.renewal_ready.notify_one();
                return Err(Error::unavailable(
                    "the revocation log is missing in Redis and is being rebuilt",
                ));
            }
        };
        self.revocations.set.set().apply(&entries);
        self.revoke_keys(&entries);
        let pending = PublishedBatch {
            published,
            answered,
        };
        // Who hung up has no use for it.
        batch
            .into_iter()
            .for_each(|one| drop(one.caller.send(pending.clone())));
        Ok(())
    }

    /// No log and no new lease: once the longest one is over, the record answers every check, and
    /// knows.
    async fn wait_for_longest_lease(&self) -> Result<PublishedEntries, Error> {
        let lease = self.postgres.update_max_lease(Duration::ZERO).await?;
        // Nobody ever reports for this one.
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

fn not_appended() -> Error {
    Error::unavailable("appending to the revocation log failed")
}
