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
        let is_change = self.store_outcome(outcome.is_ok());
        match outcome {
            Ok(()) if is_change => tracing::info!(store, "connected to store"),
            Err(error) if is_change => {
                tracing::warn!(store, error = %Chain(&error), "store unavailable")
            }
            _unchanged => {}
        }
    }

    /// Stores whether the store has responded. Returns whether that is the first outcome or differs
    /// from the last one.
    fn store_outcome(&self, is_up: bool) -> bool {
        let is_first = !self.is_observed.swap(true, Ordering::Relaxed);
        let was_up = self.is_up.swap(is_up, Ordering::Relaxed);
        self.has_responded.fetch_or(is_up, Ordering::Relaxed);
        is_first || was_up != is_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_outcome_and_each_change_are_reported() {
        for (outcomes, changes) in [
            ([true, true, false, false], [true, false, true, false]),
            ([false, false, true, false], [true, false, true, true]),
        ] {
            let observation = Observation::default();
            assert_eq!(observation.state(), StoreState::Down, "never observed");
            assert_eq!(
                outcomes.map(|is_up| observation.store_outcome(is_up)),
                changes
            );
            assert_eq!(observation.state(), StoreState::Down);
        }
    }

    #[test]
    fn both_stores_must_have_responded_once() {
        let health = StoreHealth::default();
        health.postgres.store_outcome(true);
        health.redis.store_outcome(false);
        assert!(!health.have_both_responded());
        health.redis.store_outcome(true);
        health.postgres.store_outcome(false);
        assert!(
            health.have_both_responded(),
            "a later failure changes nothing"
        );
    }
}
