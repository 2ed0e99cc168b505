//! The life of a replica: start, readiness, and drain.

pub mod cleanup;
pub mod migrate;
pub mod readiness;
pub mod start;

use std::sync::{Arc, atomic::AtomicU8};

use latchkey_domain::access_token::TokenPolicy;
use tokio::sync::Notify;

use crate::{
    app::{keys::Keys, revocation::Revocations, store_health::StoreHealth},
    config::Config,
    postgres::Postgres,
};

/// The life of this replica.
pub struct Lifecycle {
    pub(super) postgres: Arc<Postgres>,
    pub(super) store_health: Arc<StoreHealth>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) settings: LifecycleSettings,
    pub(super) phase: Phase,
}

/// The settings of the lifecycle.
pub(super) struct LifecycleSettings {
    has_rate_limits: bool,
}

impl LifecycleSettings {
    pub(super) fn new(config: &Config) -> LifecycleSettings {
        LifecycleSettings {
            has_rate_limits: config.rate_limits.0,
        }
    }
}

/// Starting, serving, or draining. A replica never returns to an earlier phase.
#[derive(Default)]
pub(super) struct Phase {
    current: AtomicU8,
    /// Notified when the replica starts to serve.
    serving: Notify,
}
