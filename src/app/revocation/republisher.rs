//! The worker that publishes what others could not: whoever committed a revocation and then found
//! Redis down, or died.
//!
//! It compares the record with memory, row by row, and publishes what is missing there: of the last
//! moments every second, and all of it whenever memory began to follow a log from its beginning.
//! There is no flag that something was published, and so none that could be wrong; to publish twice
//! is harmless. Rows are deleted only when they were compared (`janitor.rs`): a tombstone that
//! never reached Redis would let refreshing go on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use latchkey_domain::revocation::lease::LogHealth;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{Gateway, clock::moment, revocation::log::MAX_ENTRIES_PER_SCRIPT},
    error::{Chain, Error},
    postgres::{StoredRevocation, StoredUser},
};

/// How often it looks when nobody rings.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Publications at once.
const MAX_CONCURRENT_SCRIPTS: usize = 32;

/// A row is seen when its transaction commits, and dated when it began; no transaction lasts as
/// long.
fn overlap(gateway: &Gateway) -> Duration {
    (gateway.config.database_timeout * 3).max(Duration::from_secs(15))
}

/// Looking back so far, once in a while, finds also what a server with another clock dated before
/// it failed over: clocks agree within two minutes.
const CLOCK_STEP_WINDOW: Duration = Duration::from_secs(300);

/// Between two looks far back.
const CLOCK_STEP_INTERVAL: Duration = Duration::from_secs(30);

/// How far the comparison has come.
#[derive(Default)]
struct Progress {
    /// What was committed before this moment is published.
    since: Option<OffsetDateTime>,
    /// When it was looked far back.
    far_back: Option<OffsetDateTime>,
    /// As long as memory follows the same log.
    beginnings: u64,
}

impl Gateway {
    /// Publishes what is missing until the process ends.
    pub async fn run_republish_worker(self: Arc<Self>) {
        let (mut position, mut failing) = (Progress::default(), false);
        loop {
            match self.compare(&mut position).await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    tracing::warn!(
                        error = %Chain(&error),
                        "comparing revocations with PostgreSQL failed"
                    );
                    failing = true;
                }
                Err(_) => {}
            }
            let rung =
                tokio::time::timeout(POLL_INTERVAL, self.revocations.republish_ready.notified())
                    .await;
            if rung.is_ok() && failing {
                // Whoever rings has met the same failure: not at their pace.
                tokio::time::sleep(POLL_INTERVAL / 10).await;
            }
        }
    }

    /// One comparison of the record with memory, which must follow the log for that.
    async fn compare(&self, position: &mut Progress) -> Result<(), Error> {
        // Without a log nothing could be published either; the keeper tells why there is none.
        if self.revocations.sight() != LogHealth::Complete {
            return Ok(());
        }
        let beginnings = self.revocations.beginnings.load(Ordering::Relaxed);
        let since = position.since.filter(|_| position.beginnings == beginnings);
        let now = self.postgres.read_clock().await?;
        let far_back = position
            .far_back
            .filter(|last| now - *last < CLOCK_STEP_INTERVAL);
        let rows_since = since.map(|since| {
            if far_back.is_some() {
                since
            } else {
                since - CLOCK_STEP_WINDOW
            }
        });
        self.publish_since(rows_since.unwrap_or(OffsetDateTime::UNIX_EPOCH))
            .await?;
        self.publish_identities_since(position.since.unwrap_or_else(|| self.longest_ago()))
            .await?;
        *position = Progress {
            since: Some(now - overlap(self)),
            far_back: far_back.or(Some(now)),
            beginnings,
        };
        self.revocations.has_published(now - CLOCK_STEP_WINDOW);
        Ok(())
    }

    async fn publish_since(&self, since: OffsetDateTime) -> Result<(), Error> {
        let mut last = None;
        loop {
            let page = self.postgres.list_revocations(since, last.as_ref()).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.publish_rows(&page).await?;
            last = page.into_iter().next_back();
        }
    }

    async fn publish_identities_since(&self, since: OffsetDateTime) -> Result<(), Error> {
        let mut reached = (since, Uuid::nil());
        loop {
            let page = self.postgres.list_changed_identities(reached).await?;
            let Some((changed, user)) = page.last() else {
                return Ok(());
            };
            reached = (*changed, user.account.id);
            let store = |(_, user): &(OffsetDateTime, StoredUser)| {
                let account = user.account.clone();
                async move {
                    self.redis
                        .store_identity(account.id, &account.identity, self.idle_seconds())
                        .await
                }
            };
            let stored: Vec<_> = page.iter().map(store).collect();
            let () = stream::iter(stored)
                .buffer_unordered(MAX_CONCURRENT_SCRIPTS)
                .try_collect()
                .await?;
        }
    }

    /// What Redis keeps of an account that nobody refreshed since then is gone.
    fn longest_ago(&self) -> OffsetDateTime {
        moment(self.clock.now_ms()) - self.config.session_idle_timeout
    }

    async fn publish_rows(&self, rows: &[StoredRevocation]) -> Result<(), Error> {
        let now = self.clock.now();
        let is_missing = |row: &&StoredRevocation| {
            !self
                .revocations
                .set
                .set()
                .covers(&row.entry.entry(now), now)
        };
        let missing: Vec<_> = rows.iter().filter(is_missing).collect();
        self.end_all_in_accounts(&missing).await?;
        for some in missing.chunks(MAX_ENTRIES_PER_SCRIPT) {
            self.append(some.iter().map(|row| row.entry.entry(now)).collect())
                .await?;
            metrics::counter!("latchkey_revocations_republished_total")
                .increment(some.len() as u64);
        }
        Ok(())
    }

    /// The scripts of the accounts, for many rows.
    pub(crate) async fn end_all_in_accounts(
        &self,
        rows: &[&StoredRevocation],
    ) -> Result<(), Error> {
        let endings: Vec<_> = rows.iter().map(|row| row.ending()).collect();
        let ends: Vec<_> = endings
            .iter()
            .map(|ending| self.end_in_account(ending))
            .collect();
        stream::iter(ends)
            .buffer_unordered(MAX_CONCURRENT_SCRIPTS)
            .try_collect()
            .await
    }
}
