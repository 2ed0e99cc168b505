//! The use cases: one story per file, told in terms of the rules, the record, the speed and the
//! mail.
//!
//! Three faces (REST, the browser and OAuth) share them. A story that ends something runs to its
//! end even if its caller hangs up (`Gateway::uncancelled`): between the commit and its publication
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
    access_token::Realm, one_time_code::CodeKeys, rate_limit::ThrottleKey,
    refresh_token::RefreshKey,
};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use crate::app::accounts::dashboard::Dashboard;
pub use crate::app::accounts::profile::Rename;
pub use crate::app::accounts::reset_password::PasswordReset;
pub use crate::app::accounts::sign_up::SignUp;
pub use crate::app::admin::oauth_clients::{ClientPage, ProvedClient, Registration};
pub use crate::app::admin::users::{Administrator, ManagedUser, NewAccount, UserPage};
pub use crate::app::audit::AuditPage;
pub use crate::app::items::{ItemPage, ItemPatch};
pub use crate::app::keys::{KeyChange, KnownKey, PublicKey};
pub use crate::app::lifecycle::readiness::{Readiness, Status, StoreState};
pub use crate::app::lifecycle::start::{Setback, StartError};
pub use crate::app::limits::rate_limits::{Allowance, Left, Standing};
pub use crate::app::sessions::issue::{Cookie, Pair};
pub use crate::app::sessions::list::DevicePage;
pub use crate::app::sessions::sign_out::Credential;
pub use crate::app::tokens::client_credentials::{Granted, NotGranted};
pub use crate::app::tokens::explain::ExplainError;
pub use crate::app::tokens::personal_access_tokens::{NewToken, PersonalTokenPage};
pub use crate::app::tokens::revoke::NotRevoked;
pub use crate::postgres::{Device, PersonalToken, RecordedEvent, StoredClient, StoredItem};

use crate::{
    app::{
        audit::Refusals,
        clock::Clock,
        keys::KeyRing,
        lifecycle::readiness::Phase,
        limits::{password_hasher::Hasher, rate_limits::Memory},
        revocation::Revocations,
        sessions::{activity::Recorder, renew_cookie::Slides},
        tokens::{identity_assertion::Assertions, token_cache::TokenCache},
    },
    config::{Config, Mistake},
    error::{Chain, Error},
    mail::{MailSettingError, Mailer},
    postgres::{Idle, Postgres},
    redis::Redis,
};

/// Everything that a use case needs. One per process; shared by all requests.
pub struct Gateway {
    config: Config,
    realm: Realm,
    record: Postgres,
    speed: Redis,
    mailer: Mailer,
    hasher: Hasher,
    clock: Clock,
    refresh_key: RefreshKey,
    code_keys: CodeKeys,
    throttle_key: ThrottleKey,
    /// What is counted here while Redis does not answer.
    memory: Memory,
    keys: KeyRing,
    /// Tokens whose signature is right.
    tokens: TokenCache,
    /// Personal access tokens that were read lately.
    personal_tokens: tokens::personal_access_token_cache::Remembered,
    /// What was taken back.
    revocations: Revocations,
    phase: Phase,
    /// Stories that run to their end whatever happens to their callers.
    stories: TaskTracker,
    /// What is to be written about sessions that were refreshed.
    recorder: Recorder,
    /// Cookies that were signed anew.
    slides: Slides,
    /// Identities that were signed for upstreams.
    assertions: Assertions,
    /// What was refused and is to be counted.
    refusals: Refusals,
    /// Rung when a mail was promised, so that the worker need not wait for its next look.
    mail_bell: Notify,
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address; behind a trusted proxy, the one that the proxy names.
    pub address: IpAddr,
    /// The client's `User-Agent`, shortened and printable.
    pub agent: Option<String>,
    /// What is left of the limits that the request counts against; the face tells it on the answer.
    pub allowance: Allowance,
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
    pub fn new(config: Config) -> Result<Arc<Gateway>, Vec<Mistake>> {
        let record = Postgres::new(
            config.database_url.expose(),
            config.database_connections,
            config.database_timeout,
        )
        .map_err(|reason| Mistake {
            variable: "DATABASE_URL",
            reason,
        });
        let speed = Redis::new(
            config.redis_url.expose(),
            &config.redis_prefix,
            config.redis_timeout,
        )
        .map_err(|reason| Mistake {
            variable: "REDIS_URL",
            reason,
        });
        let mailer = Mailer::new(&config.smtp_url, &config.email_from).map_err(mail_mistake);
        match (record, speed, mailer) {
            (Ok(record), Ok(speed), Ok(mailer)) => {
                Ok(Arc::new(Gateway::assemble(config, record, speed, mailer)))
            }
            (record, speed, mailer) => Err([record.err(), speed.err(), mailer.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    fn assemble(config: Config, record: Postgres, speed: Redis, mailer: Mailer) -> Gateway {
        Gateway {
            realm: Realm {
                issuer: config.issuer.as_str().to_owned(),
                audience: config.audience().to_owned(),
                clock_skew: config.clock_skew.as_secs(),
            },
            hasher: Hasher::start(config.hash_threads, config.hash_wait),
            clock: Clock::default(),
            refresh_key: RefreshKey::new(&config.secret),
            code_keys: CodeKeys::new(&config.secret),
            throttle_key: ThrottleKey::new(&config.secret),
            memory: Memory::default(),
            keys: KeyRing::default(),
            tokens: TokenCache::new(config.token_cache_size),
            personal_tokens: tokens::personal_access_token_cache::Remembered::default(),
            revocations: Revocations::default(),
            phase: Phase::default(),
            stories: TaskTracker::new(),
            recorder: Recorder::default(),
            slides: Slides::default(),
            assertions: Assertions::default(),
            refusals: Refusals::default(),
            mail_bell: Notify::new(),
            config,
            record,
            speed,
            mailer,
        }
    }

    /// The settings, for the faces.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs a story to its end, whether or not its caller still waits for it. What it logs still
    /// belongs to the request.
    async fn uncancelled<T: Send + 'static>(
        &self,
        story: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let story = self.stories.spawn(story.in_current_span());
        story
            .await
            .unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    /// Resolves when every story that was begun has ended; their callers may be gone long since.
    pub async fn finish_stories(&self) {
        self.stories.close();
        self.stories.wait().await;
        // Neither costs the other its time.
        let (refreshes, refusals) = tokio::join!(self.write_waiting(), self.write_refusals());
        if let Err(error) = refreshes {
            tracing::warn!(error = %Chain(&error), "writing the last session activity failed");
        }
        if let Err(error) = refusals {
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

fn mail_mistake(error: MailSettingError) -> Mistake {
    match error {
        MailSettingError::From => Mistake {
            variable: "LATCHKEY_EMAIL_FROM",
            reason: "must be a sender, for example `Latchkey <no-reply@example.com>`".into(),
        },
        MailSettingError::Server => Mistake {
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
            allowance: Allowance::default(),
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
