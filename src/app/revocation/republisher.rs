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
use latchkey_domain::revocation::lease::Sight;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{Gateway, clock::moment, revocation::log::MOST},
    error::{Chain, Error},
    postgres::{RecordedRevocation, StoredUser},
};

/// How often it looks when nobody rings.
const LOOK: Duration = Duration::from_secs(1);

/// Publications at once.
const AT_ONCE: usize = 32;

/// A row is seen when its transaction commits, and dated when it began; no transaction lasts as
/// long.
fn overlap(gateway: &Gateway) -> Duration {
    (gateway.config.database_timeout * 3).max(Duration::from_secs(15))
}

/// Looking back so far, once in a while, finds also what a server with another clock dated before
/// it failed over: clocks agree within two minutes.
const FAR_BACK: Duration = Duration::from_secs(300);

/// Between two looks far back.
const ONCE_IN_A_WHILE: Duration = Duration::from_secs(30);

/// How far the comparison has come.
#[derive(Default)]
struct Position {
    /// What was committed before this moment is published.
    since: Option<OffsetDateTime>,
    /// When it was looked far back.
    far_back: Option<OffsetDateTime>,
    /// As long as memory follows the same log.
    beginnings: u64,
}

impl Gateway {
    /// Publishes what is missing until the process ends.
    pub async fn publish_missing(self: Arc<Self>) {
        let (mut position, mut failing) = (Position::default(), false);
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
            let rung = tokio::time::timeout(LOOK, self.revocations.publisher_bell.notified()).await;
            if rung.is_ok() && failing {
                // Whoever rings has met the same failure: not at their pace.
                tokio::time::sleep(LOOK / 10).await;
            }
        }
    }

    /// One comparison of the record with memory, which must follow the log for that.
    async fn compare(&self, position: &mut Position) -> Result<(), Error> {
        // Without a log nothing could be published either; the keeper tells why there is none.
        if self.revocations.sight() != Sight::Whole {
            return Ok(());
        }
        let beginnings = self.revocations.beginnings.load(Ordering::Relaxed);
        let since = position.since.filter(|_| position.beginnings == beginnings);
        let now = self.record.clock().await?;
        let far_back = position
            .far_back
            .filter(|last| now - *last < ONCE_IN_A_WHILE);
        let rows_since = since.map(|since| {
            if far_back.is_some() {
                since
            } else {
                since - FAR_BACK
            }
        });
        self.publish_since(rows_since.unwrap_or(OffsetDateTime::UNIX_EPOCH))
            .await?;
        self.publish_identities_since(position.since.unwrap_or_else(|| self.longest_ago()))
            .await?;
        *position = Position {
            since: Some(now - overlap(self)),
            far_back: far_back.or(Some(now)),
            beginnings,
        };
        self.revocations.has_published(now - FAR_BACK);
        Ok(())
    }

    async fn publish_since(&self, since: OffsetDateTime) -> Result<(), Error> {
        let mut last = None;
        loop {
            let page = self.record.revocations_after(since, last.as_ref()).await?;
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
            let page = self.record.identities_changed_after(reached).await?;
            let Some((changed, user)) = page.last() else {
                return Ok(());
            };
            reached = (*changed, user.account.id);
            let store = |(_, user): &(OffsetDateTime, StoredUser)| {
                let account = user.account.clone();
                async move {
                    self.speed
                        .store_identity(account.id, &account.identity, self.idle_seconds())
                        .await
                }
            };
            let stored: Vec<_> = page.iter().map(store).collect();
            let () = stream::iter(stored)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
        }
    }

    /// What Redis keeps of an account that nobody refreshed since then is gone.
    fn longest_ago(&self) -> OffsetDateTime {
        moment(self.clock.now_ms()) - self.config.session_idle_timeout
    }

    async fn publish_rows(&self, rows: &[RecordedRevocation]) -> Result<(), Error> {
        let now = self.clock.now();
        let is_missing = |row: &&RecordedRevocation| {
            !self
                .revocations
                .cell
                .set()
                .covers(&row.entry.entry(now), now)
        };
        let missing: Vec<_> = rows.iter().filter(is_missing).collect();
        self.end_all_in_accounts(&missing).await?;
        for some in missing.chunks(MOST) {
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
        rows: &[&RecordedRevocation],
    ) -> Result<(), Error> {
        let endings: Vec<_> = rows.iter().map(|row| row.ending()).collect();
        let ends: Vec<_> = endings
            .iter()
            .map(|ending| self.end_in_account(ending))
            .collect();
        stream::iter(ends)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}
