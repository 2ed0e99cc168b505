//! The use cases: one story per file, told in terms of the rules, the record, the speed and the
//! mail.
//!
//! Three faces (REST, the browser and OAuth) share them. A story that ends something runs to its
//! end even if its caller hangs up (`Gateway::run_to_completion`): between the commit and its publication
//! nobody may stop it.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod clock;
pub mod items;
pub mod keys;
pub mod lifecycle;
pub mod limits;
pub mod mail;
pub mod revocation;
pub mod sessions;
pub mod tokens;

use std::{net::IpAddr, sync::Arc};

use latchkey_domain::{
    access_token::TokenPolicy, one_time_code::CodeKeys, rate_limit::RateLimitKey,
    refresh_token::RefreshKey,
};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use crate::app::accounts::dashboard::Dashboard;
pub use crate::app::accounts::profile::ProfileChange;
pub use crate::app::accounts::reset_password::PasswordReset;
pub use crate::app::accounts::sign_up::SignUp;
pub use crate::app::admin::oauth_clients::{AuthenticatedClient, ClientPage, ClientRegistration};
pub use crate::app::admin::users::{AdminActor, ManagedUser, NewUserRequest, UserPage};
pub use crate::app::audit::AuditEventPage;
pub use crate::app::items::{ItemPage, ItemPatch};
pub use crate::app::keys::{ListedKey, PublicKey, RotationOutcome};
pub use crate::app::lifecycle::readiness::{Readiness, Status, StoreState};
pub use crate::app::lifecycle::start::{StartError, StartupError};
pub use crate::app::limits::request_limits::{LimitStatus, RemainingQuota, RequestLimits};
pub use crate::app::sessions::issue::{Cookie, TokenPair};
pub use crate::app::sessions::list::SessionPage;
pub use crate::app::sessions::sign_out::SessionCredential;
pub use crate::app::tokens::client_credentials::{GrantError, IssuedClientToken};
pub use crate::app::tokens::explain::ExplainError;
pub use crate::app::tokens::personal_access_tokens::{
    PersonalAccessTokenPage, PersonalAccessTokenRequest,
};
pub use crate::app::tokens::revoke::RevokeError;
pub use crate::postgres::{
    PersonalAccessToken, SessionRow, StoredAuditEvent, StoredClient, StoredItem,
};

use crate::{
    app::{
        audit::DeniedEvents,
        clock::Clock,
        keys::KeyRing,
        lifecycle::readiness::Lifecycle,
        limits::{password_hasher::PasswordHasher, rate_limits::LocalBuckets},
        revocation::Revocations,
        sessions::{activity::SessionActivityWriter, renew_cookie::RenewedCookies},
        tokens::{identity_assertion::AssertionCache, token_cache::TokenCache},
    },
    config::{Config, ConfigError},
    error::{Chain, Error},
    mail::{MailSettingError, Mailer},
    postgres::{Idle, Postgres},
    redis::Redis,
};

/// Everything that a use case needs. One per process; shared by all requests.
pub struct Gateway {
    config: Config,
    policy: TokenPolicy,
    postgres: Postgres,
    redis: Redis,
    mailer: Mailer,
    hasher: PasswordHasher,
    clock: Clock,
    refresh_key: RefreshKey,
    code_keys: CodeKeys,
    rate_limit_key: RateLimitKey,
    /// What is counted here while Redis does not answer.
    local_buckets: LocalBuckets,
    keys: KeyRing,
    /// Tokens whose signature is right.
    tokens: TokenCache,
    /// Personal access tokens that were read lately.
    personal_tokens: tokens::personal_access_token_cache::PersonalAccessTokenCache,
    /// What was taken back.
    revocations: Revocations,
    lifecycle: Lifecycle,
    /// Stories that run to their end whatever happens to their callers.
    tasks: TaskTracker,
    /// What is to be written about sessions that were refreshed.
    activity: SessionActivityWriter,
    /// Cookies that were signed anew.
    renewed_cookies: RenewedCookies,
    /// Identities that were signed for upstreams.
    assertions: AssertionCache,
    /// What was refused and is to be counted.
    denied_events: DeniedEvents,
    /// Rung when a mail was promised, so that the worker need not wait for its next look.
    mail_ready: Notify,
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address; behind a trusted proxy, the one that the proxy names.
    pub address: IpAddr,
    /// The client's `User-Agent`, shortened and printable.
    pub agent: Option<String>,
    /// What is left of the limits that the request counts against; the face tells it on the answer.
    pub request_limits: RequestLimits,
}

impl Origin {
    /// The network that counts as one client: an IPv4 address, or the /64 of an IPv6 address,
    /// because that is what one subscriber gets.
    pub fn network(&self) -> String {
        match self.address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}

impl Gateway {
    /// Builds a gateway; nothing is connected yet. Every wrong setting is reported.
    pub fn new(config: Config) -> Result<Arc<Gateway>, Vec<ConfigError>> {
        let postgres = Postgres::new(
            config.database_url.expose(),
            config.database_connections,
            config.database_timeout,
        )
        .map_err(|reason| ConfigError {
            variable: "DATABASE_URL",
            reason,
        });
        let redis = Redis::new(
            config.redis_url.expose(),
            &config.redis_prefix,
            config.redis_timeout,
        )
        .map_err(|reason| ConfigError {
            variable: "REDIS_URL",
            reason,
        });
        let mailer = Mailer::new(&config.smtp_url, &config.email_from).map_err(mail_error);
        match (postgres, redis, mailer) {
            (Ok(postgres), Ok(redis), Ok(mailer)) => {
                Ok(Arc::new(Gateway::assemble(config, postgres, redis, mailer)))
            }
            (postgres, redis, mailer) => Err([postgres.err(), redis.err(), mailer.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    fn assemble(config: Config, postgres: Postgres, redis: Redis, mailer: Mailer) -> Gateway {
        Gateway {
            policy: TokenPolicy {
                issuer: config.issuer.as_str().to_owned(),
                audience: config.audience().to_owned(),
                clock_skew: config.clock_skew.as_secs(),
            },
            hasher: PasswordHasher::start(config.hash_threads, config.hash_wait),
            clock: Clock::default(),
            refresh_key: RefreshKey::new(&config.secret),
            code_keys: CodeKeys::new(&config.secret),
            rate_limit_key: RateLimitKey::new(&config.secret),
            local_buckets: LocalBuckets::default(),
            keys: KeyRing::default(),
            tokens: TokenCache::new(config.token_cache_size),
            personal_tokens: tokens::personal_access_token_cache::PersonalAccessTokenCache::default(
            ),
            revocations: Revocations::default(),
            lifecycle: Lifecycle::default(),
            tasks: TaskTracker::new(),
            activity: SessionActivityWriter::default(),
            renewed_cookies: RenewedCookies::default(),
            assertions: AssertionCache::default(),
            denied_events: DeniedEvents::default(),
            mail_ready: Notify::new(),
            config,
            postgres,
            redis,
            mailer,
        }
    }

    /// The settings, for the faces.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs a story to its end, whether or not its caller still waits for it. What it logs still
    /// belongs to the request.
    async fn run_to_completion<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.tasks.spawn(task.in_current_span());
        task.await
            .unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    /// Resolves when every story that was begun has ended; their callers may be gone long since.
    pub async fn wait_for_tasks(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        // Neither costs the other its time.
        let (refreshes, denied_events) =
            tokio::join!(self.write_pending_activity(), self.write_denied_events());
        if let Err(error) = refreshes {
            tracing::warn!(error = %Chain(&error), "writing the last session activity failed");
        }
        if let Err(error) = denied_events {
            tracing::warn!(error = %Chain(&error), "writing the last denied events failed");
        }
    }

    /// How long sessions live without being used, in seconds.
    fn idle(&self) -> Idle {
        Idle {
            tokens: self.idle_seconds(),
            browser: self.cookie_seconds(),
        }
    }

    /// How long a session lives in Redis without a refresh, in seconds.
    fn idle_seconds(&self) -> u64 {
        self.config.session_idle_timeout.as_secs()
    }
}

fn mail_error(error: MailSettingError) -> ConfigError {
    match error {
        MailSettingError::From => ConfigError {
            variable: "LATCHKEY_EMAIL_FROM",
            reason: "must be a sender, for example `Latchkey <no-reply@example.com>`".into(),
        },
        MailSettingError::Server => ConfigError {
            variable: "LATCHKEY_SMTP_URL",
            reason: "must be a URL, for example `smtps://USER:PASSWORD@HOST`".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> String {
        Origin {
            address: address.parse().unwrap(),
            agent: None,
            request_limits: RequestLimits::default(),
        }
        .network()
    }

    #[test]
    fn a_subscriber_is_one_network() {
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
    }
}
