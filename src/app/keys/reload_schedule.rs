//! Decides when the signing keys are reloaded, and which callers share a reload. Without I/O.

use std::time::{Duration, Instant};

use crate::error::Error;

/// The last reload. The caller of [`ReloadSchedule::on_request`] has it exclusively until its
/// reload has finished, so that reloads run one at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReloadSchedule {
    last: Option<LastReload>,
}

#[derive(Debug, Clone, Copy)]
struct LastReload {
    began: Instant,
    /// `None` while the reload runs, and if it was canceled.
    outcome: Option<ReloadOutcome>,
}

/// The result of a reload that ran to completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    Loaded,
    Failed,
}

/// The decision about a caller that requires the current keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadDecision {
    /// Reload the keys now, and then call [`ReloadSchedule::on_finished`].
    Reload,
    /// Use the result of a reload that began after the caller arrived.
    Share(ReloadOutcome),
    /// Decide again at this time, because the last reload is too recent.
    WaitUntil(Instant),
}

impl ReloadOutcome {
    pub fn of(result: &Result<(), Error>) -> ReloadOutcome {
        match result {
            Ok(()) => ReloadOutcome::Loaded,
            Err(_) => ReloadOutcome::Failed,
        }
    }
}

impl ReloadSchedule {
    /// Decides a request of a caller that arrived at `arrived`, at least `min_interval` after the
    /// start of the last reload.
    ///
    /// A caller never shares a reload that began before it arrived, because the keys might have
    /// been read before the change that the caller needs.
    pub fn on_request(
        &mut self,
        now: Instant,
        arrived: Instant,
        min_interval: Duration,
    ) -> ReloadDecision {
        if let Some(last) = self.last {
            let shared = last.outcome.filter(|_| last.began >= arrived);
            if let Some(outcome) = shared {
                return ReloadDecision::Share(outcome);
            }
            let next = last.began + min_interval;
            if next > now {
                return ReloadDecision::WaitUntil(next);
            }
        }
        self.last = Some(LastReload {
            began: now,
            outcome: None,
        });
        ReloadDecision::Reload
    }

    /// Stores the outcome of the reload that has just finished.
    pub fn on_finished(&mut self, outcome: ReloadOutcome) {
        if let Some(last) = &mut self.last {
            last.outcome = Some(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ReloadDecision::{Reload, Share, WaitUntil},
        ReloadOutcome::{Failed, Loaded},
        *,
    };

    const INTERVAL: Duration = Duration::from_secs(1);

    /// A schedule whose times are milliseconds since its start.
    struct Fixture {
        start: Instant,
        schedule: ReloadSchedule,
    }

    impl Fixture {
        fn new() -> Fixture {
            Fixture {
                start: Instant::now(),
                schedule: ReloadSchedule::default(),
            }
        }

        /// A schedule with a reload that began at 0 ms. Without an outcome, it was canceled.
        fn with_reload(outcome: Option<ReloadOutcome>) -> Fixture {
            let mut fixture = Fixture::new();
            assert_eq!(fixture.request(0, 0, INTERVAL), Reload);
            if let Some(outcome) = outcome {
                fixture.schedule.on_finished(outcome);
            }
            fixture
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn request(&mut self, now: u64, arrived: u64, min_interval: Duration) -> ReloadDecision {
            let (now, arrived) = (self.at(now), self.at(arrived));
            self.schedule.on_request(now, arrived, min_interval)
        }
    }

    #[test]
    fn first_caller_reloads_at_once() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.request(0, 0, INTERVAL), Reload);
    }

    #[test]
    fn caller_shares_only_a_reload_that_began_later() {
        for outcome in [Loaded, Failed] {
            // The time of the request, the arrival, and the decision. The reload began at 0 ms.
            for (now, arrived, decision) in [
                (0, 0, Some(Share(outcome))),
                (5_000, 0, Some(Share(outcome))),
                (1, 1, None),
                (999, 1, None),
                (1_000, 1, Some(Reload)),
                (1_000, 1_000, Some(Reload)),
            ] {
                let mut fixture = Fixture::with_reload(Some(outcome));
                let decision = decision.unwrap_or(WaitUntil(fixture.at(1_000)));
                assert_eq!(
                    fixture.request(now, arrived, INTERVAL),
                    decision,
                    "{outcome:?}: {now}, {arrived}"
                );
            }
        }
    }

    #[test]
    fn canceled_reload_is_not_shared_and_keeps_the_interval() {
        let mut fixture = Fixture::with_reload(None);
        let retry = fixture.at(1_000);
        assert_eq!(fixture.request(0, 0, INTERVAL), WaitUntil(retry));
        assert_eq!(fixture.request(999, 0, INTERVAL), WaitUntil(retry));
        assert_eq!(fixture.request(1_000, 0, INTERVAL), Reload);
        fixture.schedule.on_finished(Loaded);
        assert_eq!(fixture.request(1_001, 0, INTERVAL), Share(Loaded));
    }

    #[test]
    fn interval_counts_from_the_start_of_a_failed_reload() {
        let mut fixture = Fixture::with_reload(Some(Failed));
        assert_eq!(fixture.request(1_500, 900, INTERVAL), Reload);
        fixture.schedule.on_finished(Loaded);
        assert_eq!(fixture.request(1_600, 900, INTERVAL), Share(Loaded));
        assert_eq!(
            fixture.request(1_600, 1_600, INTERVAL),
            WaitUntil(fixture.at(2_500))
        );
    }

    #[test]
    fn each_caller_has_its_own_interval() {
        let mut fixture = Fixture::with_reload(Some(Loaded));
        let short = Duration::from_millis(50);
        assert_eq!(fixture.request(49, 1, short), WaitUntil(fixture.at(50)));
        assert_eq!(fixture.request(50, 1, short), Reload);
        fixture.schedule.on_finished(Loaded);
        assert_eq!(fixture.request(51, 51, Duration::ZERO), Reload);
    }

    /// A caller that waits for the interval shares the reload of another one meanwhile.
    #[test]
    fn waiting_callers_share_the_next_reload() {
        let mut fixture = Fixture::with_reload(Some(Loaded));
        let next = fixture.at(1_000);
        for arrived in [10, 20, 30] {
            assert_eq!(fixture.request(arrived, arrived, INTERVAL), WaitUntil(next));
        }
        assert_eq!(fixture.request(1_000, 20, INTERVAL), Reload);
        fixture.schedule.on_finished(Loaded);
        for arrived in [10, 30, 1_000] {
            assert_eq!(fixture.request(1_010, arrived, INTERVAL), Share(Loaded));
        }
        assert_eq!(
            fixture.request(1_010, 1_001, INTERVAL),
            WaitUntil(fixture.at(2_000))
        );
    }
}
