//! Sessions: sign-in, sign-out, refresh, restore from PostgreSQL, the session cookie, and the
//! application cookies.

pub mod activity;
pub mod application_cookies;
pub mod issue;
pub mod list;
mod refresh;
pub mod renew_cookie;
mod restore;
mod sign_in;
pub mod sign_out;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use latchkey_domain::{
    access_token::TokenPolicy, application::ApplicationSet, outages::Outage,
    refresh_token::RefreshKey,
};

use crate::{
    app::{
        audit::Audit,
        clock::Clock,
        keys::Keys,
        limits::{password_hasher::PasswordHasher, rate_limits::RateLimits},
        revocation::Revocations,
        store_health::StoreHealth,
        tasks::Tasks,
        tokens::Tokens,
    },
    config::Config,
    postgres::{Idle, Postgres},
    redis::{Redis, RefreshPolicy, format_outages},
};
use activity::SessionActivityWriter;
use renew_cookie::RenewedCookies;

/// Signs users in and out, and refreshes their sessions.
pub struct Sessions {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) store_health: Arc<StoreHealth>,
    pub(super) clock: Arc<Clock>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) audit: Arc<Audit>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) hasher: Arc<PasswordHasher>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) activity: Arc<SessionActivityWriter>,
    pub(super) applications: Arc<ArcSwap<ApplicationSet>>,
    pub(super) refresh_key: Arc<RefreshKey>,
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) renewed_cookies: RenewedCookies,
    pub(super) settings: SessionSettings,
}

/// The lifetimes of sessions and tokens.
pub(super) struct SessionSettings {
    access_lifetime: Duration,
    session_idle_timeout: Duration,
    session_max_lifetime: Duration,
    cookie_idle_timeout: Duration,
    application_idle_timeout: Duration,
    refresh_reuse_interval: Duration,
    /// The longest time that restoring a session can take: two operations of each store.
    restore_timeout: Duration,
}

impl Sessions {
    /// The idle timeouts, in seconds. A browser session is active while a cookie of it is valid,
    /// also at an application.
    fn idle(&self) -> Idle {
        let settings = &self.settings;
        let browser = if self.applications.load().is_empty() {
            settings.cookie_idle_timeout
        } else {
            let application = settings.application_idle_timeout;
            settings.cookie_idle_timeout.max(application)
        };
        Idle {
            tokens: settings.session_idle_timeout.as_secs(),
            browser: browser.as_secs(),
        }
    }
}

impl SessionSettings {
    pub(super) fn new(config: &Config) -> SessionSettings {
        SessionSettings {
            access_lifetime: config.access_lifetime,
            session_idle_timeout: config.session_idle_timeout,
            session_max_lifetime: config.session_max_lifetime,
            cookie_idle_timeout: config.cookie_idle_timeout,
            application_idle_timeout: config.application_idle_timeout,
            refresh_reuse_interval: config.refresh_reuse_interval,
            restore_timeout: (config.database_timeout + config.redis_timeout) * 2,
        }
    }

    /// The limits of a refresh after these outages of Redis.
    fn refresh_policy(&self, outages: &[Outage]) -> RefreshPolicy {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        RefreshPolicy {
            idle_timeout_ms: milliseconds(self.session_idle_timeout),
            reuse_interval_ms: milliseconds(self.refresh_reuse_interval),
            outages: format_outages(outages),
            restore_timeout_ms: milliseconds(self.restore_timeout),
        }
    }
}
