//! The worker that publishes what others could not: whoever committed a revocation and then found Redis down, or died.
//!
//! It compares the record with Redis, row by row, and publishes what is missing there. There is no flag that something
//! was published, and so none that could be wrong; to publish twice is harmless. Where Redis lost the whole denylist (a
//! flush, a restart without a file, a failover), it is filled from all rows that still matter, and until then no check
//! takes a missing entry for an answer.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Gateway, clock::moment};
use crate::{
    domain::revocation::Ending,
    error::{Chain, Error},
    postgres::{RecordedRevocation, StoredUser},
    redis::Denylist,
};

/// How often it looks when nobody rings.
const LOOK: Duration = Duration::from_secs(1);

/// Publications at once.
const AT_ONCE: usize = 32;

/// A row is seen when its transaction commits, and dated when it began; no transaction lasts as long.
fn overlap(gateway: &Gateway) -> Duration {
    (gateway.config.database_timeout * 3).max(Duration::from_secs(15))
}

/// How far the comparison has come: what was committed before this moment is published.
pub(super) type Position = Option<OffsetDateTime>;

impl Gateway {
    /// Publishes what is missing until the process ends.
    pub async fn publish_missing(self: Arc<Self>) {
        let (mut position, mut failing) = (None, false);
        loop {
            match self.compare(position).await {
                Ok(reached) => (position, failing) = (reached, false),
                Err(error) if !failing => {
                    tracing::warn!(error = %Chain(&error), "revocations cannot be compared with the record");
                    failing = true;
                }
                Err(_) => {}
            }
            let rung = tokio::time::timeout(LOOK, self.publisher_bell.notified()).await;
            if rung.is_ok() && failing {
                // Whoever rings has met the same failure: not at their pace.
                tokio::time::sleep(LOOK / 10).await;
            }
        }
    }

    /// One comparison of the record with Redis.
    pub(super) async fn compare(&self, position: Position) -> Result<Position, Error> {
        // Before the record is asked, which may be down: a mark of another history must convince no check meanwhile.
        let filling = match self.speed.denylist().await? {
            Denylist::Complete => None,
            Denylist::Lost => self.speed.begin_filling().await?,
        };
        let now = self.record.clock().await?;
        match filling {
            Some(token) => self.fill_denylist(&token).await?,
            None => self.publish_since(position.unwrap_or(OffsetDateTime::UNIX_EPOCH)).await?,
        }
        self.publish_identities_since(position.unwrap_or_else(|| self.longest_ago())).await?;
        Ok(Some(now - overlap(self)))
    }

    /// Publishes what was committed a moment ago and is missing, for a caller who repeats what could not be published.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn publish_recent(&self) -> Result<(), Error> {
        let now = self.record.clock().await?;
        self.publish_since(now - overlap(self)).await
    }

    async fn fill_denylist(&self, token: &str) -> Result<(), Error> {
        self.publish_since(OffsetDateTime::UNIX_EPOCH).await?;
        match self.speed.finish_filling(token).await? {
            Denylist::Complete => {
                tracing::info!("the denylist was filled from the record");
                Ok(())
            }
            Denylist::Lost => Err(Error::unavailable("the denylist was lost while it was filled")),
        }
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
            let Some((changed, user)) = page.last() else { return Ok(()) };
            reached = (*changed, user.account.id);
            let store = |(_, user): &(OffsetDateTime, StoredUser)| {
                let account = user.account.clone();
                async move { self.speed.store_identity(account.id, &account.identity, self.idle_seconds()).await }
            };
            let stored: Vec<_> = page.iter().map(store).collect();
            let () = stream::iter(stored).buffer_unordered(AT_ONCE).try_collect().await?;
        }
    }

    /// What Redis keeps of an account that nobody refreshed since then is gone.
    fn longest_ago(&self) -> OffsetDateTime {
        moment(self.clock.now_ms()) - self.config.refresh_idle_ttl
    }

    async fn publish_rows(&self, rows: &[RecordedRevocation]) -> Result<(), Error> {
        let entries: Vec<_> = rows.iter().map(|row| row.entry).collect();
        let missing = self.speed.missing_revocations(&entries).await?;
        let mut endings = Vec::new();
        for (row, missing) in rows.iter().zip(missing) {
            if missing {
                endings.push(Ending { sub: row.sub, reason: row.reason, entries: vec![row.entry] });
            }
        }
        metrics::counter!("latchkey_revocations_made_up_for_total").increment(endings.len() as u64);
        let publications: Vec<_> = endings.iter().map(|ending| self.try_publish(ending)).collect();
        stream::iter(publications).buffer_unordered(AT_ONCE).try_collect().await
    }
}
