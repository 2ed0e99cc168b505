//! Whether the stores respond, measured by a worker, so that a request never waits for the result.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Chain, Error};

/// The last known state of both stores.
#[derive(Default)]
pub struct StoreHealth {
    /// PostgreSQL.
    pub(crate) postgres: Observation,
    /// Redis.
    pub(crate) redis: Observation,
}

impl StoreHealth {
    /// Whether each store has responded at least once.
    pub(crate) fn have_both_responded(&self) -> bool {
        self.postgres.has_responded.load(Ordering::Relaxed)
            && self.redis.has_responded.load(Ordering::Relaxed)
    }
}

/// The last known state of one store.
#[derive(Default)]
pub struct Observation {
    is_observed: AtomicBool,
    is_up: AtomicBool,
    has_responded: AtomicBool,
}

/// Whether a store responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It responds.
    Up,
    /// It doesn't respond.
    Down,
}

impl Observation {
    /// The last known state. A store that was never observed counts as down.
    pub(crate) fn state(&self) -> StoreState {
        if self.is_up.load(Ordering::Relaxed) {
            StoreState::Up
        } else {
            StoreState::Down
        }
    }

    /// The state as the value of a gauge.
    pub(crate) fn gauge(&self) -> f64 {
        match self.state() {
            StoreState::Up => 1.0,
            StoreState::Down => 0.0,
        }
    }

    /// Stores the outcome of a ping. Logs the first outcome and each change.
    pub(crate) fn update(&self, store: &str, outcome: Result<(), Error>) {
        let is_first = !self.is_observed.swap(true, Ordering::Relaxed);
        let was_up = self.is_up.swap(outcome.is_ok(), Ordering::Relaxed);
        let is_change = is_first || was_up != outcome.is_ok();
        self.has_responded
            .fetch_or(outcome.is_ok(), Ordering::Relaxed);
        match outcome {
            Ok(()) if is_change => tracing::info!(store, "connected to store"),
            Err(error) if is_change => {
                tracing::warn!(store, error = %Chain(&error), "store unavailable")
            }
            _unchanged => {}
        }
    }
}
