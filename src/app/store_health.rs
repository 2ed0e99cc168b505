//! Whether the stores respond, and their clocks, measured by a worker, so that a request never
//! waits for the result.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use latchkey_domain::clock_offset::ClockOffset;
use uuid::Uuid;

use crate::error::Diagnosis;

/// The last known state of both stores.
pub struct StoreHealth {
    /// Identifies this process among the replicas that compare their clocks.
    pub(crate) replica_id: Uuid,
    /// PostgreSQL.
    pub(crate) postgres: Observation,
    /// Redis.
    pub(crate) redis: Observation,
    /// The clock of Redis minus those of other replicas, in milliseconds.
    other_offsets: Mutex<Vec<i64>>,
}

impl Default for StoreHealth {
    fn default() -> StoreHealth {
        StoreHealth {
            replica_id: Uuid::new_v4(),
            postgres: Observation::default(),
            redis: Observation::default(),
            other_offsets: Mutex::default(),
        }
    }
}

impl StoreHealth {
    /// Stores the offsets of other replicas.
    pub(crate) fn set_other_offsets(&self, offsets: Vec<i64>) {
        *self.other_offsets.lock().expect("no holder panics") = offsets;
    }

    /// The clock of Redis minus those of other replicas, in milliseconds.
    pub(crate) fn other_offsets(&self) -> Vec<i64> {
        self.other_offsets.lock().expect("no holder panics").clone()
    }

    /// Whether each store could be used at least once.
    pub(crate) fn have_both_been_usable(&self) -> bool {
        self.postgres.has_been_usable() && self.redis.has_been_usable()
    }
}

/// The last known state of one store.
#[derive(Default)]
pub struct Observation {
    is_up: AtomicBool,
    has_been_usable: AtomicBool,
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
    pub(crate) fn has_been_usable(&self) -> bool {
        self.has_been_usable.load(Ordering::Relaxed)
    }

    /// Notes that the store can be used.
    pub(crate) fn set_usable(&self) {
        self.has_been_usable.store(true, Ordering::Relaxed);
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
        assert!(!health.have_both_been_usable());
        health.redis.set_usable();
        health.redis.store_outcome(failure("a"));
        assert!(
            health.have_both_been_usable(),
            "a later failure changes nothing"
        );
    }
}
