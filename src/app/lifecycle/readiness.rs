//! Whether this replica accepts traffic. The response needs no I/O, because a worker observes the
//! stores.

use std::{sync::atomic::Ordering, time::Duration};

use latchkey_domain::{clock_offset::ClockSeverity, revocation::lease::CheckSource};
use strum::IntoStaticStr;

use crate::app::{
    lifecycle::{Lifecycle, impairments::DegradedComponent},
    store_health::StoreState,
};

/// The longest time that a request waits for a replica that is starting. With responsive stores, a
/// start takes a fraction of it.
const MAX_START_WAIT: Duration = Duration::from_secs(2);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// Whether this replica accepts traffic, and the reason if it doesn't.
///
/// Its text is the word in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Status {
    /// The start isn't complete, or a store could never be used.
    Starting,
    /// The replica accepts traffic.
    Ready,
    /// The process is about to exit.
    Draining,
    /// Neither store responds, or the clock of this replica differs too much from those of both
    /// stores.
    Down,
}

/// The status for load balancers, and the details for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the replica accepts traffic. One failed store doesn't make a replica unready,
    /// because it would make all replicas unready at the same time.
    pub status: Status,
    /// Whether PostgreSQL responds.
    pub postgres: StoreState,
    /// Whether Redis responds.
    pub redis: StoreState,
    /// The source of revocation checks.
    pub check_source: CheckSource,
    /// Each impaired component with its cause and the fix.
    pub degraded: Vec<DegradedComponent>,
}

impl Lifecycle {
    /// Returns whether this replica accepts traffic, without I/O.
    pub fn status(&self) -> Status {
        let clock = self.clock_deviation();
        decide_status(
            self.phase.current.load(Ordering::Relaxed),
            self.store_health.have_both_been_usable(),
            self.stores(),
            clock.is_some_and(|deviation| deviation.severity == ClockSeverity::Unusable),
        )
    }

    /// Returns whether this replica accepts traffic, and what is impaired, without I/O.
    pub fn readiness(&self) -> Readiness {
        let [postgres, redis] = self.stores();
        Readiness {
            status: self.status(),
            postgres,
            redis,
            check_source: self.revocations.check_source(),
            degraded: self.degraded(),
        }
    }

    fn stores(&self) -> [StoreState; 2] {
        [
            self.store_health.postgres.state(),
            self.store_health.redis.state(),
        ]
    }

    /// Starts draining: reports not ready, and closes the revocation streams.
    pub fn drain(&self) {
        self.phase.current.fetch_max(DRAINING, Ordering::Relaxed);
        self.revocations.close_streams();
    }

    pub(super) fn begin_serving(&self) {
        self.phase.current.fetch_max(SERVING, Ordering::Relaxed);
        self.phase.serving.notify_waiters();
    }

    /// Whether the start isn't complete.
    pub fn is_starting(&self) -> bool {
        self.phase.current.load(Ordering::Relaxed) == STARTING
    }

    /// Waits until the replica serves, for at most two seconds. A proxy without health checks sends
    /// requests as soon as the replica listens.
    pub async fn wait_for_start(&self) {
        let mut serving = std::pin::pin!(self.phase.serving.notified());
        serving.as_mut().enable();
        if self.is_starting() {
            // After the timeout, the operation itself returns the error.
            let _ = tokio::time::timeout(MAX_START_WAIT, serving).await;
        }
    }
}

/// Decides whether a replica in this phase accepts traffic. `have_both_been_usable` is whether each
/// store could be used at least once.
fn decide_status(
    phase: u8,
    have_both_been_usable: bool,
    stores: [StoreState; 2],
    is_clock_unusable: bool,
) -> Status {
    match (phase, have_both_been_usable) {
        (DRAINING, _) => Status::Draining,
        (SERVING, true) if stores == [StoreState::Down; 2] || is_clock_unusable => Status::Down,
        (SERVING, true) => Status::Ready,
        _starting => Status::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_is_ready_while_one_store_responds() {
        use StoreState::{Down, Up};
        for (phase, have_both_been_usable, stores, status) in [
            (STARTING, false, [Down, Down], Status::Starting),
            (STARTING, true, [Up, Up], Status::Starting),
            (SERVING, false, [Down, Down], Status::Starting),
            (SERVING, false, [Up, Down], Status::Starting),
            (SERVING, true, [Up, Up], Status::Ready),
            (SERVING, true, [Up, Down], Status::Ready),
            (SERVING, true, [Down, Up], Status::Ready),
            (SERVING, true, [Down, Down], Status::Down),
            (DRAINING, true, [Up, Up], Status::Draining),
            (DRAINING, false, [Down, Down], Status::Draining),
        ] {
            assert_eq!(
                decide_status(phase, have_both_been_usable, stores, false),
                status,
                "{phase}, {have_both_been_usable}, {stores:?}"
            );
        }
    }

    #[test]
    fn replica_with_unusable_clock_is_not_ready() {
        let stores = [StoreState::Up; 2];
        assert_eq!(decide_status(SERVING, true, stores, true), Status::Down);
        assert_eq!(
            decide_status(DRAINING, true, stores, true),
            Status::Draining
        );
    }
}
