//! Rebuilds the revocation log from PostgreSQL if Redis has lost it, for example by a flush, a
//! restart, or a failover. Until then, PostgreSQL decides checks, and revocations fail with a 503.
//!
//! One replica rebuilds while it holds an advisory lock in PostgreSQL. It might be paused and lose
//! the lock, so each script compares the fence: the work of a rebuilder that another one replaced
//! has no effect.

use std::time::Duration;

use latchkey_domain::revocation::{Entry, lease::drain_period};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Revocations,
    republisher::{identity_entries, oldest_identity_entry},
};
use crate::{
    error::Error,
    postgres::RebuildLock,
    redis::{BeginOutcome, JoinOutcome},
};

/// Entries per script. A small fraction of the operation timeout of Redis, because a script that
/// times out must be repeated.
const ENTRIES_PER_SCRIPT: usize = 100;

/// The length of leases if the replica that rebuilds the log holds none.
const DEFAULT_LEASE: Duration = Duration::from_millis(250);

/// The outcome of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildOutcome {
    /// The log was rebuilt.
    Built {
        /// The number of entries.
        entries: u64,
        /// The length of leases from now on.
        lease: Duration,
    },
    /// The log is complete.
    AlreadyComplete,
    /// Redis evicts keys when its memory is full, so a log would be unreliable.
    EvictionEnabled,
    /// Another replica rebuilds the log.
    InProgressElsewhere,
}

impl Revocations {
    /// Rebuilds the log although it is complete, which changes the length of leases. Until it is
    /// done, revocations fail. This takes the drain period of the longest lease.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn replace_log(&self) -> Result<RebuildOutcome, Error> {
        match self.redis.join(None).await? {
            JoinOutcome::Joined { before, .. } => {
                self.build_exclusively(Some(&before.epoch), || {}).await
            }
            JoinOutcome::Lost => self.build_exclusively(None, || {}).await,
            JoinOutcome::EvictionEnabled => Ok(RebuildOutcome::EvictionEnabled),
        }
    }

    /// Rebuilds the log if it is lost. Calls `on_begin` if this replica rebuilds it.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn rebuild_log(
        &self,
        on_begin: impl FnOnce() + Send,
    ) -> Result<RebuildOutcome, Error> {
        match self.redis.join(None).await? {
            JoinOutcome::Joined { .. } => Ok(RebuildOutcome::AlreadyComplete),
            JoinOutcome::EvictionEnabled => Ok(RebuildOutcome::EvictionEnabled),
            JoinOutcome::Lost => self.build_exclusively(None, on_begin).await,
        }
    }

    async fn build_exclusively(
        &self,
        replaced: Option<&str>,
        on_begin: impl FnOnce() + Send,
    ) -> Result<RebuildOutcome, Error> {
        let Some(mut lock) = self.postgres.lock_log().await? else {
            return Ok(RebuildOutcome::InProgressElsewhere);
        };
        let outcome = self.build_log(replaced, on_begin, &mut lock).await;
        // If this fails, the connection is closed, which releases the lock as well.
        let _ = lock.release().await;
        outcome
    }

    async fn build_log(
        &self,
        replaced: Option<&str>,
        on_begin: impl FnOnce() + Send,
        lock: &mut RebuildLock,
    ) -> Result<RebuildOutcome, Error> {
        let epoch = match self.redis.begin_rebuild(replaced).await? {
            BeginOutcome::Begun(epoch) => epoch,
            BeginOutcome::AlreadyComplete => return Ok(RebuildOutcome::AlreadyComplete),
        };
        on_begin();
        let lease = match self.settings.lease {
            // Leases are off for this replica only.
            lease if lease.is_zero() => DEFAULT_LEASE,
            lease => lease,
        };
        // A replica with a lease of the old log decides from a memory that no revocation waits for.
        let longest = self.postgres.update_max_lease(lease).await?;
        tokio::time::sleep(drain_period(longest)).await;
        let last = self.fill_rebuild(&epoch, lock).await?;
        if !self.redis.finish_rebuild(&epoch, last, lease).await? {
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

    /// Appends all rows of PostgreSQL, read after the drain period, and the recent changes of
    /// identities. Returns the sequence number of the last entry.
    async fn fill_rebuild(&self, epoch: &str, lock: &mut RebuildLock) -> Result<u64, Error> {
        let last = self.fill_with_rows(epoch, lock).await?;
        self.fill_with_identities(epoch, last, lock).await
    }

    async fn fill_with_rows(&self, epoch: &str, lock: &mut RebuildLock) -> Result<u64, Error> {
        let (mut last, mut after) = (0, None);
        loop {
            let page = self
                .postgres
                .list_revocations(OffsetDateTime::UNIX_EPOCH, after.as_ref())
                .await?;
            if page.is_empty() {
                return Ok(last);
            }
            // A replica that has read an entry can rely on the scripts of the user.
            self.stop_all_refreshes(&page.iter().collect::<Vec<_>>())
                .await?;
            lock.extend().await?;
            let now = self.clock.now();
            let entries: Vec<Entry> = page.iter().map(|row| row.revocation.entry(now)).collect();
            last = self.fill_with_entries(epoch, last, &entries).await?;
            after = page.into_iter().next_back();
        }
    }

    async fn fill_with_identities(
        &self,
        epoch: &str,
        mut last: u64,
        lock: &mut RebuildLock,
    ) -> Result<u64, Error> {
        let since = oldest_identity_entry(self.postgres.read_clock().await?);
        let mut after = (since, Uuid::nil());
        loop {
            let page = self.postgres.list_changed_identities(after).await?;
            let Some((changed_at, user)) = page.last() else {
                return Ok(last);
            };
            after = (*changed_at, user.account.id);
            lock.extend().await?;
            let entries: Vec<Entry> = identity_entries(&page, since, self.clock.now()).collect();
            last = self.fill_with_entries(epoch, last, &entries).await?;
        }
    }

    /// Appends entries after the one with the sequence number `last`. Returns that of the last one.
    async fn fill_with_entries(
        &self,
        epoch: &str,
        mut last: u64,
        entries: &[Entry],
    ) -> Result<u64, Error> {
        for chunk in entries.chunks(ENTRIES_PER_SCRIPT) {
            last = self
                .redis
                .fill_rebuild(epoch, last, chunk)
                .await?
                .ok_or_else(interrupted)?;
        }
        Ok(last)
    }
}

fn interrupted() -> Error {
    Error::unavailable("Redis lost the revocation log during the rebuild")
}
