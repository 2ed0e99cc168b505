//! The application layer: components with the use cases. [`App`] composes them.
//!
//! Each component names its dependencies in its struct, and receives its settings as a small struct
//! of its own. Dependencies between components point in one direction:
//!
//! ```text
//! accounts, admin ──► sessions ──► tokens ──► keys ──► revocation
//!        │               │
//!        └──► mail       └──► limits ──► audit
//! ```
//!
//! A task that revokes something runs to completion even if its caller disconnects ([`tasks`]),
//! because it must not stop between the commit and the publication.

pub mod accounts;
pub mod admin;
pub mod applications;
pub mod audit;
pub mod clock;
mod compose;
pub mod deployment_check;
pub mod impairment;
pub mod items;
pub mod keys;
pub mod lifecycle;
pub mod limits;
pub mod mail;
pub mod origin;
pub mod revocation;
pub mod sessions;
pub mod store_health;
mod store_monitor;
pub mod tasks;
pub mod tokens;
pub mod user_export;

use std::sync::Arc;

use latchkey_domain::{account::EmailAddress, cookie_names::CookieNames};
use tokio::task::JoinSet;

use crate::{
    config::{Config, ConfigError},
    error::Chain,
    mail::{MailSettingError, Mailer},
    postgres::{Postgres, PostgresTimeouts},
    redis::{Redis, RedisTimeouts},
};
use accounts::Accounts;
use admin::{groups::Groups, oauth_clients::OAuthClients, users::Users};
use applications::Applications;
use audit::Audit;
use clock::Clock;
use items::Items;
use keys::Keys;
use lifecycle::{
    Lifecycle,
    cleanup::{CleanupSettings, CleanupWorker},
};
use limits::password_hasher::PasswordHasher;
use mail::Mail;
use revocation::Revocations;
use sessions::{Sessions, activity::SessionActivityWriter};
use store_health::StoreHealth;
use tasks::Tasks;
use tokens::Tokens;

/// The components of a replica. One per process, shared by all requests.
pub struct App {
    /// The effective settings.
    pub config: Config,
    /// The names of cookies.
    pub cookie_names: CookieNames,
    /// Sign-in, sign-out, refresh, and session cookies.
    pub sessions: Arc<Sessions>,
    /// The current user.
    pub accounts: Arc<Accounts>,
    /// User administration.
    pub users: Arc<Users>,
    /// Groups of users.
    pub groups: Groups,
    /// Applications behind a proxy.
    pub applications: Arc<Applications>,
    /// OAuth clients.
    pub oauth_clients: Arc<OAuthClients>,
    /// The items of users.
    pub items: Items,
    /// Verification of callers, and all kinds of tokens.
    pub tokens: Arc<Tokens>,
    /// Signing keys.
    pub keys: Arc<Keys>,
    /// Immediate revocation.
    pub revocations: Arc<Revocations>,
    /// Security events.
    pub audit: Arc<Audit>,
    /// Start, readiness, and drain.
    pub lifecycle: Lifecycle,
    postgres: Arc<Postgres>,
    redis: Arc<Redis>,
    store_health: Arc<StoreHealth>,
    clock: Arc<Clock>,
    tasks: Arc<Tasks>,
    hasher: Arc<PasswordHasher>,
    activity: Arc<SessionActivityWriter>,
    mail: Arc<Mail>,
}

impl App {
    /// Builds the components without connecting to a store.
    ///
    /// # Errors
    /// All settings that are invalid.
    pub fn new(config: Config) -> Result<Arc<App>, Vec<ConfigError>> {
        let postgres = Postgres::new(
            config.database_url.url(),
            config.database_url.reader(),
            config.database_connections,
            PostgresTimeouts {
                transaction: config.database_timeout,
                connect: config.database_connect_timeout,
            },
            Some(config.name_reservation),
        )
        .map_err(|reason| ConfigError {
            variable: "DATABASE_URL",
            reason,
        });
        let redis = Redis::new(
            config.redis_url.url(),
            config.redis_url.reader(),
            &config.redis_prefix,
            RedisTimeouts {
                operation: config.redis_timeout,
                connect: config.redis_connect_timeout,
            },
        )
        .map_err(|reason| ConfigError {
            variable: "REDIS_URL",
            reason,
        });
        let mailer = Mailer::new(&config.smtp_url, &config.email_from).map_err(mail_error);
        match (postgres, redis, mailer) {
            (Ok(postgres), Ok(redis), Ok(mailer)) => {
                Ok(Arc::new(compose::compose(config, postgres, redis, mailer)))
            }
            (postgres, redis, mailer) => Err([postgres.err(), redis.err(), mailer.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    /// Reads the URLs of the stores again, if they are in files. A rejected password has the same
    /// effect, so this is for another host, or for a password that changes later.
    pub fn reload_store_urls(&self) {
        self.postgres.reload_url();
        self.redis.reload_url();
    }

    fn measure(&self) {
        let (postgres, redis) = (&self.store_health.postgres, &self.store_health.redis);
        metrics::gauge!("latchkey_store_up", "store" => "postgres").set(postgres.gauge());
        metrics::gauge!("latchkey_store_up", "store" => "redis").set(redis.gauge());
        for (store, observation) in [("postgres", postgres), ("redis", redis)] {
            if let Some(offset) = observation.clock_offset() {
                metrics::gauge!("latchkey_clock_offset_seconds", "store" => store)
                    .set(offset.seconds());
            }
        }
        let (used, open) = self.postgres.connections();
        metrics::gauge!("latchkey_postgres_connections", "state" => "used").set(used as f64);
        metrics::gauge!("latchkey_postgres_connections", "state" => "open").set(open as f64);
        metrics::gauge!("latchkey_refresh_writes_pending")
            .set(self.activity.pending_count() as f64);
        metrics::gauge!("latchkey_hash_queue").set(self.hasher.waiting() as f64);
        self.revocations.measure();
        self.keys.measure();
    }

    /// Starts the background workers. None of them returns, except by a panic.
    pub fn spawn_workers(&self) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        workers.spawn(self.revocations.clone().run_lease_worker());
        workers.spawn(self.revocations.clone().run_subscription_worker());
        workers.spawn(self.revocations.clone().run_probe_worker());
        workers.spawn(self.revocations.clone().run_republish_worker());
        workers.spawn(self.keys.clone().run_key_worker());
        workers.spawn(self.applications.clone().run_reload_worker());
        workers.spawn(self.activity.clone().run());
        workers.spawn(self.audit.clone().run_denied_events_worker());
        workers.spawn(self.cleanup_worker().run());
        workers.spawn(self.mail.clone().run_mail_worker());
        workers
    }

    /// Returns the time in seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Whether this server sends email.
    pub fn sends_email(&self) -> bool {
        self.mail.is_enabled()
    }

    /// Sends a test email to this address.
    ///
    /// # Errors
    /// The step that failed, with the response of the mail server.
    pub async fn send_test_email(&self, recipient: &EmailAddress) -> Result<(), String> {
        self.mail.send_test(recipient).await
    }

    fn cleanup_worker(&self) -> CleanupWorker {
        CleanupWorker {
            postgres: self.postgres.clone(),
            clock: self.clock.clone(),
            keys: self.keys.clone(),
            revocations: self.revocations.clone(),
            settings: CleanupSettings::new(&self.config),
        }
    }

    /// Waits for the detached tasks, then writes the pending session activity and denied events.
    pub async fn finish_tasks(&self) {
        self.tasks.wait().await;
        let (activity, denied) = tokio::join!(
            self.activity.write_pending(),
            self.audit.write_denied_events()
        );
        if let Err(error) = activity {
            tracing::warn!(error = %Chain(&error), "writing the last session activity failed");
        }
        if let Err(error) = denied {
            tracing::warn!(error = %Chain(&error), "writing the last denied events failed");
        }
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
