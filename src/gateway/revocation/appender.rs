//! Revocations that arrive together share a script: whoever finds nobody sending sends for all who wait.

use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::{
    domain::revocation::{Entry, lease::Moment},
    error::Error,
    gateway::{Gateway, clock},
    redis::Published,
};

/// Entries of one script: some milliseconds of Redis' time.
const MOST: usize = 500;

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
        let mut waiting = self.waiting.lock().expect("nothing panics while it is held");
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
    pub(in crate::gateway) async fn append(&self, entries: Vec<Entry>) -> Result<Pending, Error> {
        let appender = &self.revocations.appender;
        let (caller, mut answer) = oneshot::channel();
        appender.waiting.lock().expect("nothing panics while it is held").push(Waiting { entries, caller });
        loop {
            let _turn = appender.turn.lock().await;
            match answer.try_recv() {
                Ok(pending) => return Ok(pending),
                // Whoever sent for us has failed, and told everybody so.
                Err(oneshot::error::TryRecvError::Closed) => return Err(not_appended()),
                Err(oneshot::error::TryRecvError::Empty) => self.append_waiting(appender.take()).await?,
            }
        }
    }

    async fn append_waiting(&self, batch: Vec<Waiting>) -> Result<(), Error> {
        let entries: Vec<Entry> = batch.iter().flat_map(|one| one.entries.iter().copied()).collect();
        let published = self.speed.revoke(&entries).await?;
        let answered = clock::uptime();
        let Some(published) = published else {
            self.revocations.renewal_bell.notify_one();
            return Err(Error::unavailable("the revocation log was lost, and is being built anew"));
        };
        self.revocations.cell.set().apply(&entries);
        let pending = Pending { published, answered };
        // Who hung up has no use for it.
        batch.into_iter().for_each(|one| drop(one.caller.send(pending.clone())));
        Ok(())
    }
}

fn not_appended() -> Error {
    Error::unavailable("the revocation could not be appended to the log")
}
