//! The life of a replica: start, readiness, and drain.

pub mod cleanup;
pub mod impairments;
pub mod migrate;
pub mod readiness;
pub mod readiness_probe;
pub mod start;

use std::sync::{Arc, Mutex, atomic::AtomicU8};

use latchkey_domain::access_token::TokenPolicy;
use tokio::sync::Notify;

use crate::{
    app::{
        applications::Applications, clock::Clock, keys::Keys, mail::Mail, revocation::Revocations,
        store_health::StoreHealth,
    },
    config::Config,
    error::Diagnosis,
    postgres::Postgres,
    redis::Redis,
};
use impairments::ImpairmentHistory;

/// The life of this replica.
pub struct Lifecycle {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) store_health: Arc<StoreHealth>,
    pub(super) clock: Arc<Clock>,
    pub(super) mail: Arc<Mail>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) applications: Arc<Applications>,
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) settings: LifecycleSettings,
    pub(super) phase: Phase,
    pub(super) impairments: ImpairmentHistory,
}

/// The settings of the lifecycle.
pub(super) struct LifecycleSettings {
    has_rate_limits: bool,
    /// The tolerance for the clocks of other replicas, in milliseconds.
    clock_skew_ms: u64,
}

impl LifecycleSettings {
    pub(super) fn new(config: &Config) -> LifecycleSettings {
        LifecycleSettings {
            has_rate_limits: config.rate_limits.0,
            clock_skew_ms: u64::try_from(config.clock_skew.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Starting, serving, or draining. A replica never returns to an earlier phase.
#[derive(Default)]
pub(super) struct Phase {
    current: AtomicU8,
    /// Notified when the replica starts to serve.
    serving: Notify,
    /// Why the last attempt to start has failed.
    failure: Mutex<Option<Diagnosis>>,
}

impl Phase {
    fn failure(&self) -> Option<Diagnosis> {
        self.failure.lock().expect("no holder panics").clone()
    }

    fn set_failure(&self, failure: Option<Diagnosis>) {
        *self.failure.lock().expect("no holder panics") = failure;
    }
}
