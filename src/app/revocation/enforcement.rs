//! Waits until a revocation is enforced on every replica.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use latchkey_domain::revocation::lease::{BootTime, drained_at, is_enforced};

use super::{Revocations, log::PublishedBatch};
use crate::app::clock;

/// The point up to which a revocation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Every replica rejects the revoked tokens.
    Enforced,
    /// The revocation is published. Replicas enforce it shortly after, at the latest when the drain
    /// period of the current leases is over.
    Published,
}

/// Counts one waiting revocation. While the count isn't zero, each acknowledgement of a member
/// triggers a renewal.
struct WaiterGuard<'a>(&'a AtomicUsize);

impl WaiterGuard<'_> {
    fn count_in(count: &AtomicUsize) -> WaiterGuard<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        WaiterGuard(count)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Revocations {
    /// Waits until no replica can decide a check from memory without these entries: each member has
    /// acknowledged them, or no lease is left that is older than the entries. Returns which of the
    /// two it was, and the elapsed time.
    pub(super) async fn wait_until_enforced(
        &self,
        batch: &PublishedBatch,
    ) -> (&'static str, Duration) {
        let PublishedBatch {
            published,
            appended_at,
        } = batch;
        let drained = drained_at(*appended_at, published.lease);
        let mut acknowledged = self.acknowledged.subscribe();
        let _waiter = WaiterGuard::count_in(&self.waiting);
        let have_all_acknowledged =
            |positions: &_| is_enforced(&published.appended, &self.member_id, positions);
        let is_acknowledged = matches!(
            tokio::time::timeout(
                time_until(drained),
                acknowledged.wait_for(have_all_acknowledged)
            )
            .await,
            Ok(Ok(_))
        );
        // A timer can fire early by up to its resolution.
        while !is_acknowledged && clock::boot_time() < drained {
            tokio::time::sleep(time_until(drained)).await;
        }
        let completion = if is_acknowledged {
            "acknowledged"
        } else {
            "waited"
        };
        let elapsed = Duration::from_nanos(clock::boot_time().saturating_sub(*appended_at));
        (completion, elapsed)
    }
}

fn time_until(end: BootTime) -> Duration {
    Duration::from_nanos(end.saturating_sub(clock::boot_time()))
}
