//! Logout means logout, at the speed of memory.
//!
//! Each replica holds all that was taken back in memory, and a lease: the right to answer from it
//! for a while (`LATCHKEY_LEASE`). It renews the lease five times as often (`keeper`), and learns
//! with each renewal what was appended to the log in Redis. Whoever takes something back records
//! it, appends it (`publish`, `appender`), and waits until every replica has it, or until no lease
//! is left that is older than the entry (`effect`). So a check costs four look-ups in memory, and a
//! check that begins after the answer finds the entry, or no lease; without one, the stores are
//! asked (`check`).
//!
//! Where Redis has lost the log, one replica builds it anew from the record (`reconciler`). What
//! stands in the record and could not be published is found and published by all (`publisher`). How
//! fast that is, canaries tell (`canary`). Services that check tokens themselves are told of it all
//! (`feed`).
//!
//! The decisions are those of [`latchkey_domain::revocation::lease`].

mod check;
mod enforcement;
mod lease_worker;
mod log;
mod probe;
mod publish;
mod rebuilder;
mod republisher;
mod revocation_set;
mod status;
mod stream;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use latchkey_domain::revocation::lease::{AcknowledgedPositions, LogHealth, LogPosition};
use latchkey_domain::revocation::leased_set::LeasedSet;
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

pub use crate::app::revocation::enforcement::WaitFor;
pub use crate::app::revocation::rebuilder::RebuildOutcome;
pub use crate::app::revocation::stream::{StreamEvent, Subscription};

use crate::app::revocation::{
    log::LogAppender, revocation_set::RevocationSet, stream::RevocationStream,
};

/// Checks that may wait for the record at once; those beyond are refused at once.
const MAX_POSTGRES_CHECKS: usize = 1024;

/// What a replica knows of revocations.
pub struct Revocations {
    /// This process, among the members.
    id: Uuid,
    set: LeasedSet<RevocationSet>,
    /// What was seen of Redis last.
    seen: Mutex<Seen>,
    /// How far the members are.
    reports: watch::Sender<AcknowledgedPositions<String, Uuid>>,
    /// Revocations that wait for the members.
    waiting: AtomicUsize,
    appender: LogAppender,
    /// What others are told.
    feed: RevocationStream,
    /// Rung when there is a reason to renew at once.
    renewal_ready: Notify,
    /// Rung when something could not be published, so that the publisher need not wait for its next
    /// look.
    republish_ready: Notify,
    /// How often memory began to follow a log from its beginning: whatever was published before is
    /// to be compared again.
    beginnings: AtomicU64,
    /// Everything that was recorded before this moment has been published.
    published: Mutex<OffsetDateTime>,
    postgres_checks: Semaphore,
    leaving: AtomicBool,
    left: Notify,
}

/// What was seen of Redis last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sight: LogHealth,
    /// The length of leases under the epoch, if there is one.
    lease: Option<Duration>,
}

impl Default for Revocations {
    fn default() -> Revocations {
        Revocations {
            id: Uuid::new_v4(),
            set: LeasedSet::new(RevocationSet::default()),
            seen: Mutex::new(Seen {
                sight: LogHealth::NotSeen,
                lease: None,
            }),
            reports: watch::Sender::new(AcknowledgedPositions::default()),
            waiting: AtomicUsize::new(0),
            appender: LogAppender::default(),
            feed: RevocationStream::default(),
            renewal_ready: Notify::new(),
            republish_ready: Notify::new(),
            beginnings: AtomicU64::new(0),
            published: Mutex::new(OffsetDateTime::UNIX_EPOCH),
            postgres_checks: Semaphore::new(MAX_POSTGRES_CHECKS),
            leaving: AtomicBool::new(false),
            left: Notify::new(),
        }
    }
}

impl Revocations {
    fn sight(&self) -> LogHealth {
        self.seen
            .lock()
            .expect("nothing panics while it is held")
            .sight
    }

    fn saw(&self, sight: LogHealth) {
        self.seen
            .lock()
            .expect("nothing panics while it is held")
            .sight = sight;
    }

    fn has_published(&self, until: OffsetDateTime) {
        *self
            .published
            .lock()
            .expect("nothing panics while it is held") = until;
    }

    /// Everything that was recorded before this moment has been published, as far as this replica
    /// knows.
    pub fn published_until(&self) -> OffsetDateTime {
        *self
            .published
            .lock()
            .expect("nothing panics while it is held")
    }

    /// Entries in memory.
    pub fn entries(&self) -> usize {
        self.set.set().len()
    }

    /// Memory begins to follow a log, under whose epoch leases are this long, from before its first
    /// entry.
    fn begins(&self, lease: Duration, before: &LogPosition<String>) {
        self.seen
            .lock()
            .expect("nothing panics while it is held")
            .lease = Some(lease);
        self.beginnings.fetch_add(1, Ordering::Relaxed);
        self.feed.begin(before.clone());
    }

    /// Nobody is told anything any more: this replica is about to end.
    pub(crate) fn end_feed(&self) {
        self.feed.close();
    }

    /// The length of leases under the epoch, if one was seen.
    pub fn lease(&self) -> Option<Duration> {
        self.seen
            .lock()
            .expect("nothing panics while it is held")
            .lease
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}
