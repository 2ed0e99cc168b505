//! Building the log anew from the record, when Redis has lost it: a flush, a restart, a failover.
//! Until that is done checks ask the record, and nothing can be revoked.
//!
//! One replica does it, holding a lock in PostgreSQL. It may be paused, lose its lock and wake up
//! while another is at it: each step compares in Redis whether it is still the one who builds, and
//! on the same history, so its work comes to nothing.

use std::time::Duration;

use latchkey_domain::revocation::{Entry, lease::drain_period};
use time::OffsetDateTime;

use crate::{
    app::Gateway,
    error::Error,
    postgres::RebuildLock,
    redis::{BeginOutcome, JoinOutcome},
};

/// Entries of one script: a fraction of what Redis may take for an answer, because one that is late
/// is for nothing.
const ENTRIES_PER_SCRIPT: usize = 100;

/// The length of leases, where the replica that builds the log takes none.
const DEFAULT_LEASE: Duration = Duration::from_millis(250);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildOutcome {
    /// It was built, with so many entries and leases of this length.
    Built {
        /// Entries.
        entries: u64,
        /// The length of leases from now on.
        lease: Duration,
    },
    /// There was nothing to do.
    AlreadyComplete,
    /// Redis forgets keys when its memory is full: a log there would be of no use.
    EvictionEnabled,
    /// Another replica is at it.
    InProgressElsewhere,
}

impl Gateway {
    /// Builds the log anew, although there is a good one: so a new length of leases comes into
    /// force. Until it is done, which takes as long as the longest lease, whatever is to be revoked
    /// is refused.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn replace_log(&self) -> Result<RebuildOutcome, Error> {
        match self.redis.join(None).await? {
            JoinOutcome::Joined { epoch, .. } => self.build_alone(Some(&epoch), || {}).await,
            JoinOutcome::Lost => self.build_alone(None, || {}).await,
            JoinOutcome::EvictionEnabled => Ok(RebuildOutcome::EvictionEnabled),
        }
    }

    /// Builds the log anew if there is none. `begins` is called if this replica is the one that
    /// does.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn rebuild_log(
        &self,
        begins: impl FnOnce() + Send,
    ) -> Result<RebuildOutcome, Error> {
        match self.redis.join(None).await? {
            JoinOutcome::Joined { .. } => Ok(RebuildOutcome::AlreadyComplete),
            JoinOutcome::EvictionEnabled => Ok(RebuildOutcome::EvictionEnabled),
            JoinOutcome::Lost => self.build_alone(None, begins).await,
        }
    }

    async fn build_alone(
        &self,
        replaced: Option<&str>,
        begins: impl FnOnce() + Send,
    ) -> Result<RebuildOutcome, Error> {
        let Some(mut lock) = self.postgres.lock_log().await? else {
            return Ok(RebuildOutcome::InProgressElsewhere);
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
        lock: &mut RebuildLock,
    ) -> Result<RebuildOutcome, Error> {
        let epoch = match self.redis.begin_log(replaced).await? {
            BeginOutcome::Begun(epoch) => epoch,
            BeginOutcome::AlreadyComplete => return Ok(RebuildOutcome::AlreadyComplete),
            BeginOutcome::NotPrimary => {
                return Err(Error::unavailable("Redis is a follower, not the primary"));
            }
        };
        begins();
        let lease = match self.config.lease {
            // Off is off for this replica alone.
            lease if lease.is_zero() => DEFAULT_LEASE,
            lease => lease,
        };
        // Whoever holds a lease of the log before answers from a memory that nobody waits for from
        // here on.
        tokio::time::sleep(drain_period(self.postgres.update_max_lease(lease).await?)).await;
        let last = self.fill_log(&epoch, lock).await?;
        if !self.redis.finish_log(&epoch, last, lease).await? {
            return Err(interrupted());
        }
        tracing::info!(
            entries = last,
            lease = ?lease,
            "rebuilt revocation log from PostgreSQL"
        );
        Ok(RebuildOutcome::Built {
            entries: last,
            lease,
        })
    }

    /// All of the record, read after the wait; the number of the last entry.
    async fn fill_log(&self, epoch: &str, lock: &mut RebuildLock) -> Result<u64, Error> {
        let (mut last, mut reached) = (0, None);
        loop {
            let page = self
                .postgres
                .list_revocations(OffsetDateTime::UNIX_EPOCH, reached.as_ref())
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
            for some in entries.chunks(ENTRIES_PER_SCRIPT) {
                last = self
                    .redis
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
