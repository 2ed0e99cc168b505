//! Whether this replica should get requests, found out beforehand: the answer itself does no I/O.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use super::Gateway;
use crate::error::{Chain, Error};

/// How often the stores are asked.
const LOOK: Duration = Duration::from_millis(500);

/// Where the process is in its life, and how the stores were when last seen.
#[derive(Default)]
pub struct Phase {
    /// Starting, serving, draining: it only grows.
    step: AtomicU8,
    record: AtomicBool,
    speed: AtomicBool,
}

const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// How a store was when last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// What a balancer wants to know, and what a person wants to know who asks why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// `starting`, `ready`, `draining` or `down`.
    pub status: &'static str,
    /// PostgreSQL.
    pub postgres: StoreState,
    /// Redis.
    pub redis: StoreState,
}

impl Readiness {
    /// Whether requests may come. One sick store takes no replica out of the balancer, because it would take all of them
    /// out at once.
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Gateway {
    /// Whether this replica should get requests. No I/O.
    pub fn readiness(&self) -> Readiness {
        let state = |up: &AtomicBool| if up.load(Ordering::Relaxed) { StoreState::Up } else { StoreState::Down };
        let (postgres, redis) = (state(&self.phase.record), state(&self.phase.speed));
        let status = match (self.phase.step.load(Ordering::Relaxed), postgres, redis) {
            (DRAINING, ..) => "draining",
            (SERVING, StoreState::Down, StoreState::Down) => "down",
            (SERVING, ..) => "ready",
            _starting => "starting",
        };
        Readiness { status, postgres, redis }
    }

    /// From now on this replica wants no new requests.
    pub fn drain(&self) {
        self.phase.step.fetch_max(DRAINING, Ordering::Relaxed);
    }

    pub(super) fn started(&self) {
        self.phase.record.store(true, Ordering::Relaxed);
        self.phase.step.fetch_max(SERVING, Ordering::Relaxed);
    }

    /// Watches the stores until the process ends.
    pub async fn watch_stores(self: Arc<Self>) {
        loop {
            let (record, speed) = tokio::join!(self.record.ping(), self.speed.ping());
            note(&self.phase.record, "PostgreSQL", record);
            note(&self.phase.speed, "Redis", speed);
            self.measure();
            tokio::time::sleep(LOOK).await;
        }
    }

    fn measure(&self) {
        let gauge = |up: &AtomicBool| if up.load(Ordering::Relaxed) { 1.0 } else { 0.0 };
        metrics::gauge!("latchkey_store_up", "store" => "postgres").set(gauge(&self.phase.record));
        metrics::gauge!("latchkey_store_up", "store" => "redis").set(gauge(&self.phase.speed));
        let (used, open) = self.record.connections();
        metrics::gauge!("latchkey_postgres_connections", "state" => "used").set(used as f64);
        metrics::gauge!("latchkey_postgres_connections", "state" => "open").set(open as f64);
        metrics::gauge!("latchkey_hash_queue").set(self.hasher.waiting() as f64);
    }
}

/// Logs a change once, not every look.
fn note(known: &AtomicBool, store: &str, seen: Result<(), Error>) {
    let was_up = known.swap(seen.is_ok(), Ordering::Relaxed);
    match seen {
        Ok(()) if !was_up => tracing::info!(store, "the store answers"),
        Err(error) if was_up => {
            tracing::warn!(store, error = %Chain(&error), "the store does not answer")
        }
        _unchanged => {}
    }
}
