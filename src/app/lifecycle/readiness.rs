//! Whether this replica should get requests, found out beforehand: the answer itself does no I/O.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use latchkey_domain::revocation::lease::CheckSource;
use tokio::sync::Notify;

use crate::{
    app::Gateway,
    error::{Chain, Error},
};

/// How often the stores are asked.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// So long do those wait who come while this replica starts. With stores that answer it takes a
/// fraction of it.
const MAX_START_WAIT: Duration = Duration::from_secs(2);

/// Where the process is in its life, and how the stores were when last seen.
#[derive(Default)]
pub struct Lifecycle {
    /// Starting, serving, draining: it only grows.
    phase: AtomicU8,
    /// Told when it serves.
    begun: Notify,
    postgres: StoreHealth,
    redis: StoreHealth,
}

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// How a store was when last seen, and whether it ever answered.
#[derive(Default)]
struct StoreHealth {
    looked: AtomicBool,
    up: AtomicBool,
    ever_up: AtomicBool,
}

/// How a store was when last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// Whether requests may come, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not prepared yet, or a store has never answered yet.
    Starting,
    /// They may come.
    Ready,
    /// The process is about to end.
    Draining,
    /// Neither store answers.
    Down,
}

impl Status {
    /// The status as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Ready => "ready",
            Status::Draining => "draining",
            Status::Down => "down",
        }
    }
}

/// What a balancer wants to know, and what a person wants to know who asks why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether requests may come. One sick store takes no replica out of the balancer, because it
    /// would take all of them out at once.
    pub status: Status,
    /// PostgreSQL.
    pub postgres: StoreState,
    /// Redis.
    pub redis: StoreState,
    /// The source of checks.
    pub check_source: CheckSource,
    /// Whatever is not as it should be: what, why, and what to do.
    pub degraded: Vec<String>,
}

impl StoreHealth {
    fn state(&self) -> StoreState {
        if self.up.load(Ordering::Relaxed) {
            StoreState::Up
        } else {
            StoreState::Down
        }
    }

    fn gauge(&self) -> f64 {
        match self.state() {
            StoreState::Up => 1.0,
            StoreState::Down => 0.0,
        }
    }

    /// Logs a change once, not every look; the first look is a change.
    fn note(&self, store: &str, seen: Result<(), Error>) {
        let changed = !self.looked.swap(true, Ordering::Relaxed);
        let changed = self.up.swap(seen.is_ok(), Ordering::Relaxed) != seen.is_ok() || changed;
        self.ever_up.fetch_or(seen.is_ok(), Ordering::Relaxed);
        match seen {
            Ok(()) if changed => tracing::info!(store, "connected to store"),
            Err(error) if changed => {
                tracing::warn!(store, error = %Chain(&error), "store unavailable")
            }
            _unchanged => {}
        }
    }
}

impl Gateway {
    /// Whether this replica should get requests. No I/O.
    pub fn readiness(&self) -> Readiness {
        let (postgres, redis) = (&self.lifecycle.postgres, &self.lifecycle.redis);
        let prepared =
            postgres.ever_up.load(Ordering::Relaxed) && redis.ever_up.load(Ordering::Relaxed);
        let status = match (
            self.lifecycle.phase.load(Ordering::Relaxed),
            postgres.state(),
            redis.state(),
        ) {
            (DRAINING, ..) => Status::Draining,
            (SERVING, StoreState::Down, StoreState::Down) if prepared => Status::Down,
            (SERVING, ..) if prepared => Status::Ready,
            _starting => Status::Starting,
        };
        let (check_source, mut degraded) = (self.check_source(), self.degraded_revocation());
        if postgres.state() == StoreState::Down {
            degraded.push(
                "PostgreSQL does not respond. Requests that read or write it return 503. Check the \
                 PostgreSQL server and `DATABASE_URL`."
                    .to_owned(),
            );
        }
        Readiness {
            status,
            postgres: postgres.state(),
            redis: redis.state(),
            check_source,
            degraded,
        }
    }

    /// From now on this replica wants no new requests, and ends those that would not end by
    /// themselves.
    pub fn drain(&self) {
        self.lifecycle.phase.fetch_max(DRAINING, Ordering::Relaxed);
        self.revocations.end_feed();
    }

    pub(crate) fn started(&self) {
        self.lifecycle.phase.fetch_max(SERVING, Ordering::Relaxed);
        self.lifecycle.begun.notify_waiters();
    }

    /// Whether this replica has not begun to serve.
    pub fn is_starting(&self) -> bool {
        self.lifecycle.phase.load(Ordering::Relaxed) == STARTING
    }

    /// Until it serves, or a moment: a proxy that asks nobody who is ready sends requests as soon
    /// as somebody listens.
    pub async fn wait_for_start(&self) {
        let mut begun = std::pin::pin!(self.lifecycle.begun.notified());
        begun.as_mut().enable();
        if self.is_starting() {
            // Later than that the stores do not answer, as the answer will say.
            let _ = tokio::time::timeout(MAX_START_WAIT, begun).await;
        }
    }

    /// Watches the stores until the process ends.
    pub async fn watch_stores(self: Arc<Self>) {
        loop {
            let (postgres, redis) = tokio::join!(self.postgres.ping(), self.redis.ping());
            self.lifecycle.postgres.note("PostgreSQL", postgres);
            self.lifecycle.redis.note("Redis", redis);
            self.measure();
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn measure(&self) {
        metrics::gauge!("latchkey_store_up", "store" => "postgres")
            .set(self.lifecycle.postgres.gauge());
        metrics::gauge!("latchkey_store_up", "store" => "redis").set(self.lifecycle.redis.gauge());
        let (used, open) = self.postgres.connections();
        metrics::gauge!("latchkey_postgres_connections", "state" => "used").set(used as f64);
        metrics::gauge!("latchkey_postgres_connections", "state" => "open").set(open as f64);
        metrics::gauge!("latchkey_refresh_writes_pending").set(self.activity.waiting() as f64);
        self.measure_revocation();
        self.measure_keys();
        metrics::gauge!("latchkey_hash_queue").set(self.hasher.waiting() as f64);
    }
}
