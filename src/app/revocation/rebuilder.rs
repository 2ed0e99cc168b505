//! Building the log anew from the record, when Redis has lost it: a flush, a restart, a failover.
//! Until that is done checks ask the record, and nothing can be revoked.
//!
//! One replica does it, holding a lock in PostgreSQL. It may be paused, lose its lock and wake up
//! while another is at it: each step compares in Redis whether it is still the one who builds, and
//! on the same history, so its work comes to nothing.

use std::time::Duration;

use latchkey_domain::revocation::{Entry, lease::wait};
use time::OffsetDateTime;

use crate::{
    app::Gateway,
    error::Error,
    postgres::Building,
    redis::{Begun, Joined},
};

/// Entries of one script: a fraction of what Redis may take for an answer, because one that is late
/// is for nothing.
const AT_ONCE: usize = 100;

/// The length of leases, where the replica that builds the log takes none.
const LEASE: Duration = Duration::from_millis(250);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilt {
    /// It was built, with so many entries and leases of this length.
    Built {
        /// Entries.
        entries: u64,
        /// The length of leases from now on.
        lease: Duration,
    },
    /// There was nothing to do.
    Whole,
    /// Redis forgets keys when its memory is full: a log there would be of no use.
    Evicting,
    /// Another replica is at it.
    Elsewhere,
}

impl Gateway {
    /// Builds the log anew, although there is a good one: so a new length of leases comes into
    /// force. Until it is done, which takes as long as the longest lease, whatever is to be revoked
    /// is refused.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn replace_log(&self) -> Result<Rebuilt, Error> {
        match self.speed.join(None).await? {
            Joined::Joined { epoch, .. } => self.build_alone(Some(&epoch), || {}).await,
            Joined::Lost => self.build_alone(None, || {}).await,
            Joined::Evicting => Ok(Rebuilt::Evicting),
        }
    }

    /// Builds the log anew if there is none. `begins` is called if this replica is the one that
    /// does.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn rebuild_log(&self, begins: impl FnOnce() + Send) -> Result<Rebuilt, Error> {
        match self.speed.join(None).await? {
            Joined::Joined { .. } => Ok(Rebuilt::Whole),
            Joined::Evicting => Ok(Rebuilt::Evicting),
            Joined::Lost => self.build_alone(None, begins).await,
        }
    }

    async fn build_alone(
        &self,
        replaced: Option<&str>,
        begins: impl FnOnce() + Send,
    ) -> Result<Rebuilt, Error> {
        let Some(mut lock) = self.record.lock_log().await? else {
            return Ok(Rebuilt::Elsewhere);
        };
        let outcome = self.build_log(replaced, begins, &mut lock).await;
        // Where this fails the connection is closed, which gives the lock up as well.
        let _ = lock.end().await;
        outcome
    }

    async fn build_log(
        &self,
        replaced: Option<&str>,
        begins: impl FnOnce() + Send,
        lock: &mut Building,
    ) -> Result<Rebuilt, Error> {
        let epoch = match self.speed.begin_log(replaced).await? {
            Begun::Begun(epoch) => epoch,
            Begun::Whole => return Ok(Rebuilt::Whole),
            Begun::Deposed => {
                return Err(Error::unavailable("Redis is a follower, not the primary"));
            }
        };
        begins();
        let lease = match self.config.lease {
            // Off is off for this replica alone.
            lease if lease.is_zero() => LEASE,
            lease => lease,
        };
        // Whoever holds a lease of the log before answers from a memory that nobody waits for from
        // here on.
        tokio::time::sleep(wait(self.record.raise_longest_lease(lease).await?)).await;
        let last = self.fill_log(&epoch, lock).await?;
        if !self.speed.finish_log(&epoch, last, lease).await? {
            return Err(interrupted());
        }
        tracing::info!(
            entries = last,
            lease = ?lease,
            "rebuilt revocation log from PostgreSQL"
        );
        Ok(Rebuilt::Built {
            entries: last,
            lease,
        })
    }

    /// All of the record, read after the wait; the number of the last entry.
    async fn fill_log(&self, epoch: &str, lock: &mut Building) -> Result<u64, Error> {
        let (mut last, mut reached) = (0, None);
        loop {
            let page = self
                .record
                .revocations_after(OffsetDateTime::UNIX_EPOCH, reached.as_ref())
                .await?;
            if page.is_empty() {
                return Ok(last);
            }
            // As always: whoever sees an entry may rely on the rest.
            self.end_all_in_accounts(&page.iter().collect::<Vec<_>>())
                .await?;
            lock.keep().await?;
            let now = self.clock.now();
            let entries: Vec<Entry> = page.iter().map(|row| row.entry.entry(now)).collect();
            for some in entries.chunks(AT_ONCE) {
                last = self
                    .speed
                    .fill_log(epoch, last, some)
                    .await?
                    .ok_or_else(interrupted)?;
            }
            reached = page.into_iter().next_back();
        }
    }
}

fn interrupted() -> Error {
    Error::unavailable("Redis lost the revocation log during the rebuild")
}
