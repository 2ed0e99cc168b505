//! Observes the impairments: when each began, and which of them are logged.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use latchkey_domain::clock_offset::{self, ClockDeviation, ClockSeverity, DifferingClock};
use time::OffsetDateTime;

use crate::{
    app::{
        clock::timestamp_from_ms,
        impairment::{Component, Impairment, clock_action},
        lifecycle::Lifecycle,
        store_health::StoreState,
    },
    error::Diagnosis,
};

/// An impairment and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DegradedComponent {
    /// The impairment.
    pub impairment: Impairment,
    /// When this replica first observed it.
    pub since: OffsetDateTime,
}

/// When each impairment began, and which ones were logged.
#[derive(Default)]
pub(in crate::app) struct ImpairmentHistory {
    observed: Mutex<BTreeMap<Component, Observed>>,
    is_clock_warning_logged: AtomicBool,
}

struct Observed {
    since: OffsetDateTime,
    /// The fix in the last log line. Unlike the reason, it contains no changing numbers.
    logged_action: Option<String>,
}

impl ImpairmentHistory {
    fn observed(&self) -> MutexGuard<'_, BTreeMap<Component, Observed>> {
        self.observed.lock().expect("no holder panics")
    }

    /// Stores when the current impairments began. Logs the ends of others.
    fn store(&self, current: &[Impairment], now: OffsetDateTime) {
        let mut observed = self.observed();
        observed.retain(|component, observation| {
            let is_current = current.iter().any(|found| found.component == *component);
            if !is_current && observation.logged_action.is_some() {
                tracing::info!(component = component.into_str(), "no longer degraded");
            }
            is_current
        });
        for impairment in current {
            observed.entry(impairment.component).or_insert(Observed {
                since: now,
                logged_action: None,
            });
        }
    }

    /// Adds when each impairment began: `now`, if it was not observed yet.
    fn with_start(&self, current: Vec<Impairment>, now: OffsetDateTime) -> Vec<DegradedComponent> {
        let observed = self.observed();
        let with_start = |impairment: Impairment| DegradedComponent {
            since: observed
                .get(&impairment.component)
                .map_or(now, |observation| observation.since),
            impairment,
        };
        current.into_iter().map(with_start).collect()
    }

    /// Logs the impairments that were observed before `now`, once per fix. A short one, for example
    /// at the start, is not logged.
    fn log(&self, degraded: &[DegradedComponent], now: OffsetDateTime) {
        let mut observed = self.observed();
        for DegradedComponent { impairment, since } in degraded {
            let diagnosis = &impairment.diagnosis;
            let Some(observation) = observed.get_mut(&impairment.component) else {
                continue;
            };
            let is_logged = observation.logged_action.as_deref() == Some(&diagnosis.action);
            if is_logged || *since >= now {
                continue;
            }
            observation.logged_action = Some(diagnosis.action.clone().into_owned());
            tracing::warn!(
                component = impairment.component.into_str(),
                reason = %diagnosis.reason,
                action = %diagnosis.action,
                "degraded"
            );
        }
    }
}

impl Lifecycle {
    /// Observes the impairments, and logs those that last, and their ends.
    pub(crate) fn observe_impairments(&self) {
        let now = timestamp_from_ms(self.clock.now_ms());
        self.impairments.store(&self.find_impairments(), now);
        let mut degraded = self.degraded();
        // Others are logged where they are detected.
        degraded.retain(|degraded| match degraded.impairment.component {
            Component::Publication | Component::Lease | Component::Clock => true,
            Component::Postgres => self.store_health.postgres.state() == StoreState::Up,
            Component::Start
            | Component::Redis
            | Component::RevocationLog
            | Component::SigningKeys
            | Component::Email => false,
        });
        self.impairments.log(&degraded, now);
        self.log_clock_warning();
    }

    /// Logs a small difference once, when both clocks are known, so that the line names the one
    /// that differs.
    fn log_clock_warning(&self) {
        let (postgres, redis) = (&self.store_health.postgres, &self.store_health.redis);
        if postgres.clock_offset().is_none() || redis.clock_offset().is_none() {
            return;
        }
        let deviation = self.clock_deviation();
        let warning = deviation.filter(|found| found.severity == ClockSeverity::Warning);
        let was_logged = &self.impairments.is_clock_warning_logged;
        if was_logged.swap(warning.is_some(), Ordering::Relaxed) {
            return;
        }
        if let Some(deviation) = warning {
            tracing::warn!(reason = %deviation, action = clock_action(deviation.clock), "clocks differ");
        }
    }

    /// Returns the impaired components, each with the time when that was first observed.
    pub(super) fn degraded(&self) -> Vec<DegradedComponent> {
        let now = timestamp_from_ms(self.clock.now_ms());
        self.impairments.with_start(self.find_impairments(), now)
    }

    fn find_impairments(&self) -> Vec<Impairment> {
        let mut current = Vec::new();
        current.extend(self.start_impairment());
        current.extend(self.postgres_impairment());
        current.extend(self.redis_impairment());
        current.extend(self.revocations.impairments());
        current.extend(self.keys.impairment());
        current.extend(self.mail.impairment());
        current.extend(self.clock_impairment());
        current
    }

    fn start_impairment(&self) -> Option<Impairment> {
        let failure = self.phase.failure()?;
        // With PostgreSQL down, its own impairment states the cause.
        let is_up = self.store_health.postgres.state() == StoreState::Up;
        is_up.then(|| Impairment::new(Component::Start, failure))
    }

    fn postgres_impairment(&self) -> Option<Impairment> {
        let (failure, effect) = match self.store_health.postgres.failure() {
            Some(failure) => (failure, "Requests that require PostgreSQL return 503."),
            None => (
                self.postgres.recent_rejection()?,
                "Some requests that require PostgreSQL return 503.",
            ),
        };
        Some(Impairment::with_effect(
            Component::Postgres,
            failure,
            effect,
        ))
    }

    fn redis_impairment(&self) -> Option<Impairment> {
        let failure = self.store_health.redis.failure();
        let failure = failure.or_else(|| self.revocations.log_failure())?;
        Some(Impairment::with_effect(
            Component::Redis,
            failure,
            "Refresh and sign-out return 503. When the lease has expired, PostgreSQL serves checks.",
        ))
    }

    fn clock_impairment(&self) -> Option<Impairment> {
        let deviation = self.clock_deviation()?;
        let effect = match (deviation.severity, deviation.clock) {
            (ClockSeverity::Warning, _) => return None,
            (ClockSeverity::Unusable, _) => {
                "This replica is not ready, because other replicas reject its tokens, or it rejects \
                 their tokens."
            }
            (ClockSeverity::Degraded, DifferingClock::Replica) => {
                "If the difference reaches `LATCHKEY_CLOCK_SKEW`, and another replica agrees with the \
                 stores, this replica is not ready."
            }
            (ClockSeverity::Degraded, _) => "Expiry times in the stores differ by this time.",
        };
        Some(Impairment::with_effect(
            Component::Clock,
            Diagnosis::new(deviation.to_string(), clock_action(deviation.clock)),
            effect,
        ))
    }

    /// Returns the difference between the clocks, if it is at least a second.
    pub(super) fn clock_deviation(&self) -> Option<ClockDeviation> {
        clock_offset::assess_clocks(
            self.store_health.postgres.clock_offset(),
            self.store_health.redis.clock_offset(),
            &self.store_health.other_offsets(),
            self.settings.clock_skew_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn impairment(reason: &'static str) -> Impairment {
        Impairment::new(Component::Email, Diagnosis::new(reason, "Fix it."))
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    #[test]
    fn impairment_keeps_its_start_until_it_ends() {
        let history = ImpairmentHistory::default();
        let since = |current: Vec<Impairment>, now| {
            history.store(&current, at(now));
            let degraded = history.with_start(current, at(now));
            degraded.first().map(|degraded| degraded.since)
        };
        assert_eq!(since(vec![impairment("a")], 1), Some(at(1)));
        assert_eq!(
            since(vec![impairment("b")], 2),
            Some(at(1)),
            "another cause"
        );
        assert_eq!(since(vec![], 3), None);
        assert_eq!(since(vec![impairment("a")], 4), Some(at(4)));
    }
}
