//! Revocations that arrive together share a script: whoever finds nobody sending sends for all who
//! wait.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use latchkey_domain::revocation::{
    Entry,
    lease::{Appended, Moment},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    app::{Gateway, clock},
    error::Error,
    redis::{Published, Revoked},
};

/// Entries of one script: some milliseconds of Redis' time.
pub(crate) const MOST: usize = 500;

/// Revocations that wait for a script.
#[derive(Default)]
pub struct Appender {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    entries: Vec<Entry>,
    caller: oneshot::Sender<Pending>,
}

/// What is in the log, and when that was known here.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What the script said.
    pub published: Published,
    /// When its answer came.
    pub answered: Moment,
}

impl Appender {
    /// The oldest of those who wait, as many as fit into one script.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it is held");
        let mut room = MOST;
        let fits = |one: &&Waiting| {
            let fits = one.entries.len() <= room || room == MOST;
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
    pub(crate) async fn append(&self, entries: Vec<Entry>) -> Result<Pending, Error> {
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
        let revoked = self.speed.revoke(&entries).await?;
        let answered = clock::uptime();
        let published = match revoked {
            Revoked::Published(published) => published,
            Revoked::Evicting => self.waited_out_only().await?,
            Revoked::Lost => {
                self.revocations.renewal_bell.notify_one();
                return Err(Error::unavailable(
                    "the revocation log is missing in Redis and is being rebuilt",
                ));
            }
        };
        self.revocations.cell.set().apply(&entries);
        self.take_back_keys(&entries);
        let pending = Pending {
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
    async fn waited_out_only(&self) -> Result<Published, Error> {
        let lease = self.record.raise_longest_lease(Duration::ZERO).await?;
        // Nobody ever reports for this one.
        let members = BTreeSet::from([Uuid::nil()]);
        Ok(Published {
            appended: Appended {
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
