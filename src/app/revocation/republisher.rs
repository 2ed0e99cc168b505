//! The republish worker: publishes rows that were committed but not published, because Redis was
//! down or the replica stopped.
//!
//! It compares the rows of PostgreSQL with the revocation set and publishes the missing ones:
//! recent rows every second, and all rows when this replica starts to follow a log. No flag marks a
//! row as published, so none can be wrong, and publishing twice is harmless. A row that was read
//! is added to the revocation set at once, even if it can't be published. The cleanup worker
//! deletes only rows that were compared, because refreshes would continue without a tombstone in
//! Redis.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use latchkey_domain::revocation::{ENTRY_SECONDS, Entry, RevocationBatch, lease::LogHealth};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Revocations,
    log::MAX_ENTRIES_PER_SCRIPT,
    republish_progress::{CLOCK_STEP_WINDOW, RepublishProgress},
};
use crate::{
    app::clock::timestamp_from_ms,
    error::{Chain, Error},
    postgres::{StoredRevocation, StoredUser},
};

/// The interval between two comparisons.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Scripts that run at the same time.
const MAX_CONCURRENT_SCRIPTS: usize = 32;

/// The shortest overlap of two comparisons. `revoked_at` is the start time of the transaction, so a
/// commit becomes visible later; no transaction takes that long.
const MIN_OVERLAP: Duration = Duration::from_secs(15);

impl Revocations {
    /// Runs until the process exits.
    pub(crate) async fn run_republish_worker(self: Arc<Self>) {
        let (mut published, mut is_failing) = (RepublishProgress::default(), false);
        let mut applied = RepublishProgress::default();
        loop {
            // Without a complete log, publishing would fail. The lease worker logs the reason.
            let outcome = if self.log_health() == LogHealth::Complete {
                self.publish_missing(&mut published).await
            } else {
                self.apply_missing(&mut applied, &published).await
            };
            match outcome {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    tracing::warn!(
                        error = %Chain(&error),
                        "reading or publishing committed revocations failed; retrying"
                    );
                    is_failing = true;
                }
                Err(_) => {}
            }
            let notified =
                tokio::time::timeout(POLL_INTERVAL, self.republish_ready.notified()).await;
            if notified.is_ok() && is_failing {
                // The request that notified has met the same failure. Without a delay, the rate of
                // requests would determine the rate of attempts.
                tokio::time::sleep(POLL_INTERVAL / 10).await;
            }
        }
    }

    /// Compares PostgreSQL with the revocation set, and publishes the missing rows.
    async fn publish_missing(&self, progress: &mut RepublishProgress) -> Result<(), Error> {
        let log_generation = self.log_generation.load(Ordering::Relaxed);
        let now = self.postgres.read_clock().await?;
        let comparison = progress.plan(now, log_generation, self.overlap());
        self.publish_rows_since(comparison.rows_since).await?;
        let oldest_cached_user = || self.oldest_cached_user();
        let identities_since = comparison
            .identities_since
            .unwrap_or_else(oldest_cached_user);
        self.publish_identities_since(identities_since, oldest_identity_entry(now))
            .await?;
        *progress = comparison.next;
        self.set_published_until(now - CLOCK_STEP_WINDOW);
        Ok(())
    }

    /// Applies the rows of PostgreSQL without publishing them. So this replica rejects their tokens
    /// although the log lacks them.
    async fn apply_missing(
        &self,
        progress: &mut RepublishProgress,
        published: &RepublishProgress,
    ) -> Result<(), Error> {
        let now = self.postgres.read_clock().await?;
        // All rows at the start, then the recent ones.
        let comparison = progress.plan_without_log(published, now, self.overlap());
        let mut after = None;
        loop {
            let page = self
                .postgres
                .list_revocations(comparison.rows_since, after.as_ref())
                .await?;
            if page.is_empty() {
                *progress = comparison.next;
                return Ok(());
            }
            self.apply_rows(&page);
            after = page.into_iter().next_back();
        }
    }

    /// Applies the rows that the revocation set lacks.
    fn apply_rows(&self, rows: &[StoredRevocation]) {
        let now = self.clock.now();
        self.apply_unknown(rows.iter().map(|row| row.revocation.entry(now)), now);
    }

    /// Applies the entries that the revocation set lacks.
    fn apply_unknown(&self, entries: impl Iterator<Item = Entry>, now: u64) {
        let unknown: Vec<Entry> = entries
            .filter(|entry| !self.set.set().covers(entry, now))
            .collect();
        self.apply_committed(&unknown);
    }

    fn overlap(&self) -> Duration {
        (self.settings.database_timeout * 3).max(MIN_OVERLAP)
    }

    /// The time before which Redis keeps no user that was not refreshed since.
    fn oldest_cached_user(&self) -> OffsetDateTime {
        timestamp_from_ms(self.clock.now_ms()) - self.settings.session_idle_timeout
    }

    async fn publish_rows_since(&self, since: OffsetDateTime) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self
                .postgres
                .list_revocations(since, after.as_ref())
                .await?;
            if page.is_empty() {
                return Ok(());
            }
            self.publish_rows(&page).await?;
            after = page.into_iter().next_back();
        }
    }

    /// Publishes the identities that changed at `since` or later. Changes before `oldest_entry`
    /// need no entry.
    async fn publish_identities_since(
        &self,
        since: OffsetDateTime,
        oldest_entry: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut after = (since, Uuid::nil());
        loop {
            let page = self.postgres.list_changed_identities(after).await?;
            let Some((changed_at, user)) = page.last() else {
                break;
            };
            after = (*changed_at, user.account.id);
            self.store_identities(&page).await?;
            let now = self.clock.now();
            self.apply_unknown(identity_entries(&page, oldest_entry, now), now);
        }
        let missing = self.unpublished().identities();
        for chunk in missing.chunks(MAX_ENTRIES_PER_SCRIPT) {
            self.append(chunk.to_vec()).await?;
        }
        Ok(())
    }

    /// Stores a page of identities for the next tokens of the users.
    async fn store_identities(&self, page: &[(OffsetDateTime, StoredUser)]) -> Result<(), Error> {
        let store = |(_, user): &(OffsetDateTime, StoredUser)| {
            let account = user.account.clone();
            async move {
                self.redis
                    .store_identity(account.id, &account.identity, self.settings.idle_seconds())
                    .await
            }
        };
        let scripts: Vec<_> = page.iter().map(store).collect();
        stream::iter(scripts)
            .buffer_unordered(MAX_CONCURRENT_SCRIPTS)
            .try_collect()
            .await
    }

    async fn publish_rows(&self, rows: &[StoredRevocation]) -> Result<(), Error> {
        self.apply_rows(rows);
        let now = self.clock.now();
        let missing: Vec<_> = {
            let unpublished = self.unpublished();
            let is_missing =
                |row: &&StoredRevocation| unpublished.contains(&row.revocation.subject());
            rows.iter().filter(is_missing).collect()
        };
        self.stop_all_refreshes(&missing).await?;
        for chunk in missing.chunks(MAX_ENTRIES_PER_SCRIPT) {
            self.append(chunk.iter().map(|row| row.revocation.entry(now)).collect())
                .await?;
            metrics::counter!("latchkey_revocations_republished_total")
                .increment(chunk.len() as u64);
        }
        Ok(())
    }

    /// Runs the scripts of the users of many rows.
    pub(super) async fn stop_all_refreshes(&self, rows: &[&StoredRevocation]) -> Result<(), Error> {
        let batches: Vec<_> = rows.iter().map(|row| row.to_batch()).collect();
        self.stop_refreshes_of_users(&batches).await
    }

    /// Runs the scripts of many users.
    pub(super) async fn stop_refreshes_of_users(
        &self,
        batches: &[RevocationBatch],
    ) -> Result<(), Error> {
        let scripts: Vec<_> = batches
            .iter()
            .map(|batch| self.stop_refreshes(batch))
            .collect();
        stream::iter(scripts)
            .buffer_unordered(MAX_CONCURRENT_SCRIPTS)
            .try_collect()
            .await
    }
}

/// Returns the time before which no change of an identity needs an entry: cached claims are younger
/// than the lifetime of an entry. `now` is the time of PostgreSQL.
pub(super) fn oldest_identity_entry(now: OffsetDateTime) -> OffsetDateTime {
    now - Duration::from_secs(ENTRY_SECONDS)
}

/// Returns the entries of the identities that changed at `since` or later, to publish at `now`
/// (seconds since the Unix epoch).
pub(super) fn identity_entries(
    page: &[(OffsetDateTime, StoredUser)],
    since: OffsetDateTime,
    now: u64,
) -> impl Iterator<Item = Entry> {
    page.iter()
        .filter(move |(changed_at, _)| *changed_at >= since)
        .filter_map(move |(_, user)| {
            let account = &user.account;
            Entry::of_identity(account.id, account.identity.version, now)
        })
}
