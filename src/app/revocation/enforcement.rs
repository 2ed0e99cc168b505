//! When a revocation has taken effect on every replica.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use latchkey_domain::revocation::lease::{BootTime, drained_at, is_enforced};

use crate::app::{Gateway, clock, revocation::log::PublishedBatch};

/// What somebody who takes something back waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Until no replica accepts it any more.
    Enforced,
    /// Only until it is published: it is enforced a moment later, at most the wait of the leases in
    /// force.
    Published,
}

/// One more who waits, as long as this lives: then every word of a member is a reason to look.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn one(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gateway {
    /// Waits until no replica can answer from a memory without these entries: each has said that it
    /// has them, or no lease is left that is older. Which of the two it was, and how long it took.
    pub(crate) async fn wait_until_enforced(
        &self,
        pending: &PublishedBatch,
    ) -> (&'static str, Duration) {
        let PublishedBatch {
            published,
            answered,
        } = pending;
        let over = drained_at(*answered, published.lease);
        let mut reports = self.revocations.reports.subscribe();
        let _counted = Counted::one(&self.revocations.waiting);
        let known = |reports: &_| is_enforced(&published.appended, &self.revocations.id, reports);
        let acknowledged = matches!(
            tokio::time::timeout(rest(over), reports.wait_for(known)).await,
            Ok(Ok(_))
        );
        // A timer may be early by less than its own grain, and this is no place to be early.
        while !acknowledged && clock::uptime() < over {
            tokio::time::sleep(rest(over)).await;
        }
        let by = if acknowledged {
            "acknowledged"
        } else {
            "waited"
        };
        (
            by,
            Duration::from_nanos(clock::uptime().saturating_sub(*answered)),
        )
    }
}

fn rest(over: BootTime) -> Duration {
    Duration::from_nanos(over.saturating_sub(clock::uptime()))
}
