//! Whether the stores respond, and their clocks, measured by a worker, so that a request never
//! waits for the result.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use latchkey_domain::clock_offset::ClockOffset;

use crate::error::Diagnosis;

/// The last known state of both stores.
#[derive(Default)]
pub struct StoreHealth {
    /// PostgreSQL.
    pub(crate) postgres: Observation,
    /// Redis.
    pub(crate) redis: Observation,
}

impl StoreHealth {
    /// Whether each store could be used at least once.
    pub(crate) fn were_both_usable(&self) -> bool {
        self.postgres.was_usable() && self.redis.was_usable()
    }
}

/// The last known state of one store.
#[derive(Default)]
pub struct Observation {
    is_up: AtomicBool,
    was_usable: AtomicBool,
    last: Mutex<Option<Result<ClockOffset, Diagnosis>>>,
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

    /// Whether the store could be used at least once.
    pub(crate) fn was_usable(&self) -> bool {
        self.was_usable.load(Ordering::Relaxed)
    }

    /// Stores that the store can be used: every kind of operation has succeeded.
    pub(crate) fn set_usable(&self) {
        self.was_usable.store(true, Ordering::Relaxed);
    }

    /// The cause and the fix of the last failure, unless the store has responded since.
    pub(crate) fn failure(&self) -> Option<Diagnosis> {
        self.last().clone().and_then(Result::err)
    }

    /// The clock of the store, if it responds.
    pub(crate) fn clock_offset(&self) -> Option<ClockOffset> {
        self.last().clone().and_then(Result::ok)
    }

    /// The state as the value of a gauge.
    pub(crate) fn gauge(&self) -> f64 {
        match self.state() {
            StoreState::Up => 1.0,
            StoreState::Down => 0.0,
        }
    }

    /// Stores the outcome of a probe. Logs the first outcome, each change, and each other reason.
    pub(crate) fn update(&self, store: &str, outcome: Result<ClockOffset, Diagnosis>) {
        if self.store_outcome(outcome.clone()) {
            match outcome {
                Ok(_) => tracing::info!(store, "connected to store"),
                Err(error) => tracing::warn!(store, %error, "store unavailable"),
            }
        }
    }

    /// Stores an outcome. Returns whether it is the first one or differs from the last one.
    fn store_outcome(&self, outcome: Result<ClockOffset, Diagnosis>) -> bool {
        self.is_up.store(outcome.is_ok(), Ordering::Relaxed);
        let mut last = self.last();
        let is_same = match (&*last, &outcome) {
            (Some(Ok(_)), Ok(_)) => true,
            (Some(Err(last)), Err(error)) => last == error,
            _other => false,
        };
        *last = Some(outcome);
        !is_same
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Result<ClockOffset, Diagnosis>>> {
        self.last.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success() -> Result<ClockOffset, Diagnosis> {
        Ok(ClockOffset::between(1, 1, 1))
    }

    fn failure(reason: &'static str) -> Result<ClockOffset, Diagnosis> {
        Err(Diagnosis::new(reason, "Fix it."))
    }

    #[test]
    fn first_outcome_and_each_change_are_reported() {
        for (outcomes, changes) in [
            (
                [success(), success(), failure("a"), failure("a")],
                [true, false, true, false],
            ),
            (
                [failure("a"), failure("b"), success(), failure("b")],
                [true, true, true, true],
            ),
        ] {
            let observation = Observation::default();
            assert_eq!(observation.state(), StoreState::Down, "never observed");
            assert_eq!(
                outcomes.map(|outcome| observation.store_outcome(outcome)),
                changes
            );
            assert_eq!(observation.state(), StoreState::Down);
            assert!(observation.failure().is_some() && observation.clock_offset().is_none());
        }
    }

    #[test]
    fn both_stores_must_have_been_usable_once() {
        let health = StoreHealth::default();
        health.postgres.set_usable();
        assert!(!health.were_both_usable());
        health.redis.set_usable();
        health.redis.store_outcome(failure("a"));
        assert!(health.were_both_usable(), "a later failure changes nothing");
    }
}
