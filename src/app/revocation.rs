//! Immediate revocation: once a revocation returns, every replica rejects the revoked tokens, and
//! an allowed check needs no round trip.
//!
//! Each replica holds all revocations in memory, together with a *lease*: the right to decide
//! checks from memory for a while (`LATCHKEY_LEASE`). The lease worker renews the lease five times
//! per lease length, and receives with each renewal the entries that were appended to the log
//! in Redis (`lease_worker`). A revocation is stored in PostgreSQL, appended to the log (`publish`,
//! `log`), and returns when every replica has acknowledged the entry, or when no older lease can
//! exist (`enforcement`). A check that starts after that finds the entry, or no lease. Without a
//! lease, checks query the stores (`check`).
//!
//! If Redis has lost the log, one replica rebuilds it from PostgreSQL (`rebuilder`). All replicas
//! find and publish rows that were committed but not published (`republisher`). Probe entries
//! measure the propagation delay (`probe`). Services that validate tokens locally follow the
//! entries by a stream (`stream`).
//!
//! The decisions are pure functions in [`latchkey_domain::revocation::lease`], and the state
//! machine [`latchkey_domain::revocation::lease_renewer`].

mod check;
pub mod enforcement;
mod lease_worker;
mod log;
mod probe;
mod publish;
pub mod rebuilder;
mod republish_progress;
mod republisher;
mod revocation_set;
mod status;
pub mod stream;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use latchkey_domain::{
    access_token::Kid,
    outages::{Outage, Outages},
    revocation::{
        lease::{AcknowledgedPositions, LogHealth, LogPosition},
        leased_set::LeasedSet,
        unpublished::UnpublishedEntries,
    },
};
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

pub use enforcement::WaitFor;
pub use rebuilder::RebuildOutcome;
pub use stream::{StreamEvent, Subscription};

use crate::{
    app::clock::{self, Clock},
    config::Config,
    error::Diagnosis,
    postgres::Postgres,
    redis::Redis,
};
use log::LogAppender;
use revocation_set::RevocationSet;
use stream::RevocationStream;

/// Checks that can wait for PostgreSQL at the same time. Further checks fail immediately.
const MAX_POSTGRES_CHECKS: usize = 1024;

/// The revocations that this replica knows, and its place among the members of the log.
pub struct Revocations {
    postgres: Arc<Postgres>,
    redis: Arc<Redis>,
    clock: Arc<Clock>,
    settings: RevocationSettings,
    /// Called when an entry revokes a signing key.
    on_key_revoked: Box<dyn Fn(Kid) + Send + Sync>,
    /// The ID of this process among the members.
    member_id: Uuid,
    /// All live revocations that this replica has read from the log or from PostgreSQL.
    set: LeasedSet<RevocationSet>,
    /// The entries of `set` that the log lacks.
    unpublished: Mutex<UnpublishedEntries>,
    log: Mutex<LogObservation>,
    /// How far each member has applied the log.
    acknowledged: watch::Sender<AcknowledgedPositions<String, Uuid>>,
    /// Revocations that wait for the members.
    waiting: AtomicUsize,
    appender: LogAppender,
    stream: RevocationStream,
    /// Notified when the lease should be renewed immediately.
    renewal_ready: Notify,
    /// Notified when publishing failed, so that the republish worker doesn't wait for its next
    /// poll.
    republish_ready: Notify,
    /// Counts how often this replica read a log from its beginning. After that, rows that were
    /// published before must be compared again.
    log_generation: AtomicU64,
    /// All rows that were stored before this time have been published.
    published_until: Mutex<OffsetDateTime>,
    postgres_checks: Semaphore,
    is_leaving: AtomicBool,
    left: Notify,
}

/// The settings of the revocation protocol.
pub(super) struct RevocationSettings {
    /// The length of leases. If zero, this replica holds no lease.
    lease: Duration,
    session_idle_timeout: Duration,
    database_timeout: Duration,
    /// Streams that can be open at the same time.
    max_streams: usize,
}

impl RevocationSettings {
    pub(super) fn new(config: &Config) -> RevocationSettings {
        RevocationSettings {
            lease: config.lease,
            session_idle_timeout: config.session_idle_timeout,
            database_timeout: config.database_timeout,
            max_streams: config.revocation_streams,
        }
    }

    fn idle_seconds(&self) -> u64 {
        self.session_idle_timeout.as_secs()
    }
}

/// The last known state of the log in Redis.
#[derive(Debug, Clone)]
struct LogObservation {
    health: LogHealth,
    outages: Outages,
    /// The length of leases in the current epoch, if it is known.
    lease: Option<Duration>,
    /// The cause and the fix of the last failed renewal, unless one has succeeded since.
    failure: Option<Diagnosis>,
}

impl Revocations {
    /// Creates the component without a lease. `on_key_revoked` is called for each entry that
    /// revokes a signing key.
    pub(super) fn new(
        postgres: Arc<Postgres>,
        redis: Arc<Redis>,
        clock: Arc<Clock>,
        settings: RevocationSettings,
        on_key_revoked: impl Fn(Kid) + Send + Sync + 'static,
    ) -> Revocations {
        Revocations {
            postgres,
            redis,
            clock,
            settings,
            on_key_revoked: Box::new(on_key_revoked),
            member_id: Uuid::new_v4(),
            set: LeasedSet::new(RevocationSet::default()),
            unpublished: Mutex::default(),
            log: Mutex::new(LogObservation {
                health: LogHealth::NotSeen,
                outages: Outages::default(),
                lease: None,
                failure: None,
            }),
            acknowledged: watch::Sender::new(AcknowledgedPositions::default()),
            waiting: AtomicUsize::new(0),
            appender: LogAppender::default(),
            stream: RevocationStream::default(),
            renewal_ready: Notify::new(),
            republish_ready: Notify::new(),
            log_generation: AtomicU64::new(0),
            published_until: Mutex::new(OffsetDateTime::UNIX_EPOCH),
            postgres_checks: Semaphore::new(MAX_POSTGRES_CHECKS),
            is_leaving: AtomicBool::new(false),
            left: Notify::new(),
        }
    }

    fn log_observation(&self) -> MutexGuard<'_, LogObservation> {
        self.log.lock().expect("no holder panics")
    }

    fn log_health(&self) -> LogHealth {
        self.log_observation().health
    }

    fn set_log_health(&self, health: LogHealth) {
        let now = clock::boot_time();
        let mut observation = self.log_observation();
        observation.health = health;
        match health {
            LogHealth::Unreachable => observation.outages.record_failure(now),
            // Refreshes need no log.
            LogHealth::Complete
            | LogHealth::NotSeen
            | LogHealth::Lost
            | LogHealth::EvictionEnabled
            | LogHealth::NewerVersion => observation.outages.record_success(now),
        }
    }

    fn set_log_failure(&self, failure: Option<Diagnosis>) {
        self.log_observation().failure = failure;
    }

    /// The outages of Redis during the last two minutes.
    pub(crate) fn recent_outages(&self) -> Vec<Outage> {
        let now = clock::boot_time();
        self.log_observation().outages.recent(now)
    }

    fn unpublished(&self) -> MutexGuard<'_, UnpublishedEntries> {
        self.unpublished.lock().expect("no holder panics")
    }

    fn set_published_until(&self, until: OffsetDateTime) {
        *self.published_until.lock().expect("no holder panics") = until;
    }

    /// The time before which all stored revocations have been published, as far as this replica
    /// knows.
    pub(crate) fn published_until(&self) -> OffsetDateTime {
        *self.published_until.lock().expect("no holder panics")
    }

    /// The number of entries in memory.
    fn entry_count(&self) -> usize {
        self.set.set().len()
    }

    /// Starts to follow a log from the position before its first entry. `lease` is the length of
    /// leases in its epoch.
    fn follow_log(&self, lease: Duration, before: &LogPosition<String>) {
        self.log_observation().lease = Some(lease);
        self.log_generation.fetch_add(1, Ordering::Relaxed);
        self.stream.begin(before.clone());
    }

    /// Closes all revocation streams, because this replica drains.
    pub(crate) fn close_streams(&self) {
        self.stream.close();
    }

    /// The length of leases in the current epoch, if it is known.
    fn current_lease(&self) -> Option<Duration> {
        self.log_observation().lease
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}
