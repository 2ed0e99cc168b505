//! Builds the components: each constructor names the dependencies of a component.

use std::sync::{Arc, Mutex};

use latchkey_domain::{
    access_token::TokenPolicy, cookie_names::CookieNames, one_time_code::CodeKeys,
    rate_limit::RateLimitKey, refresh_token::RefreshKey,
};
use tokio::sync::Notify;

use super::App;
use crate::app::accounts::{AccountSettings, Accounts};
use crate::app::admin::{
    groups::Groups,
    oauth_clients::OAuthClients,
    users::{UserSettings, Users},
};
use crate::app::applications::{ApplicationSettings, Applications};
use crate::app::audit::{Audit, DeniedEvents};
use crate::app::clock::Clock;
use crate::app::items::Items;
use crate::app::keys::{KeyRing, KeySettings, Keys};
use crate::app::lifecycle::{Lifecycle, LifecycleSettings, Phase, impairments::ImpairmentHistory};
use crate::app::limits::{
    password_hasher::PasswordHasher, rate_limit_settings::RateLimitSettings,
    rate_limits::RateLimits,
};
use crate::app::mail::Mail;
use crate::app::revocation::{RevocationSettings, Revocations};
use crate::app::sessions::{
    SessionSettings, Sessions, activity::SessionActivityWriter, renew_cookie::RenewedCookies,
};
use crate::app::store_health::StoreHealth;
use crate::app::tasks::Tasks;
use crate::app::tokens::{TokenCaches, TokenSettings, Tokens};
use crate::{
    config::Config,
    mail::{Mailer, Service},
    postgres::Postgres,
    redis::Redis,
};

/// Builds all components, from the ones without dependencies to the use cases.
pub(super) fn compose(config: Config, postgres: Postgres, redis: Redis, mailer: Mailer) -> App {
    let base = Base::new(&config, postgres, redis, mailer);
    let ring = Arc::new(KeyRing::default());
    let revocations = base.revocations(&config, &ring);
    let keys = Arc::new(Keys {
        postgres: base.postgres.clone(),
        clock: base.clock.clone(),
        tasks: base.tasks.clone(),
        revocations: revocations.clone(),
        ring,
        settings: KeySettings::new(&config),
    });
    let tokens = base.tokens(&config, &revocations, &keys);
    let activity = base.activity(&revocations);
    let applications = base.applications(&config);
    let sessions = base.sessions(&config, &tokens, &activity, &applications);
    App {
        accounts: base.accounts(&config, &sessions),
        users: base.users(&config, &sessions),
        applications: applications.clone(),
        groups: Groups {
            postgres: base.postgres.clone(),
        },
        oauth_clients: base.oauth_clients(&revocations),
        items: Items {
            postgres: base.postgres.clone(),
        },
        lifecycle: Lifecycle {
            postgres: base.postgres.clone(),
            redis: base.redis.clone(),
            store_health: base.store_health.clone(),
            clock: base.clock.clone(),
            mail: base.mail.clone(),
            revocations: revocations.clone(),
            keys: keys.clone(),
            applications,
            policy: base.policy.clone(),
            settings: LifecycleSettings::new(&config),
            phase: Phase::default(),
            impairments: ImpairmentHistory::default(),
        },
        cookie_names: CookieNames::new(&config.cookie_name, config.cookie_domain.is_some()),
        sessions,
        tokens,
        keys,
        revocations,
        activity,
        audit: base.audit,
        postgres: base.postgres,
        redis: base.redis,
        store_health: base.store_health,
        clock: base.clock,
        tasks: base.tasks,
        hasher: base.hasher,
        mail: base.mail,
        config,
    }
}

/// The parts that several components share.
struct Base {
    postgres: Arc<Postgres>,
    redis: Arc<Redis>,
    store_health: Arc<StoreHealth>,
    clock: Arc<Clock>,
    tasks: Arc<Tasks>,
    audit: Arc<Audit>,
    rate_limits: Arc<RateLimits>,
    hasher: Arc<PasswordHasher>,
    mail: Arc<Mail>,
    policy: Arc<TokenPolicy>,
    refresh_key: Arc<RefreshKey>,
    code_keys: Arc<CodeKeys>,
}

impl Base {
    fn new(config: &Config, postgres: Postgres, redis: Redis, mailer: Mailer) -> Base {
        let (postgres, redis) = (Arc::new(postgres), Arc::new(redis));
        let clock = Arc::new(Clock::default());
        let code_keys = Arc::new(CodeKeys::new(&config.secret));
        let policy = Arc::new(TokenPolicy {
            issuer: config.issuer.as_str().to_owned(),
            audience: config.audience().to_owned(),
            clock_skew: config.clock_skew.as_secs(),
        });
        let audit = Arc::new(Audit {
            postgres: postgres.clone(),
            clock: clock.clone(),
            denied_events: DeniedEvents::default(),
        });
        let rate_limits = Arc::new(RateLimits::new(
            redis.clone(),
            clock.clone(),
            audit.clone(),
            RateLimitKey::new(&config.secret),
            RateLimitSettings::new(config),
        ));
        let mail = Arc::new(Mail {
            postgres: postgres.clone(),
            redis: redis.clone(),
            clock: clock.clone(),
            rate_limits: rate_limits.clone(),
            code_keys: code_keys.clone(),
            mailer,
            service: Service {
                brand: config.brand.as_str().to_owned(),
                issuer: config.issuer.as_str().to_owned(),
                has_user_pages: config.web.0,
                help_url: config.help_url.as_ref().map(|url| url.as_str().to_owned()),
            },
            code_lifetime: config.code_lifetime,
            invitation_lifetime: config.invitation_lifetime,
            ready: Notify::new(),
            health: Mutex::default(),
        });
        Base {
            store_health: Arc::default(),
            tasks: Arc::default(),
            hasher: Arc::new(PasswordHasher::start(
                config.hash_implementation,
                config.hash_threads,
                config.hash_wait,
            )),
            refresh_key: Arc::new(RefreshKey::new(&config.secret)),
            postgres,
            redis,
            clock,
            audit,
            rate_limits,
            mail,
            policy,
            code_keys,
        }
    }

    fn activity(&self, revocations: &Arc<Revocations>) -> Arc<SessionActivityWriter> {
        let (postgres, revocations) = (self.postgres.clone(), revocations.clone());
        Arc::new(SessionActivityWriter::new(postgres, revocations))
    }

    fn applications(&self, config: &Config) -> Arc<Applications> {
        let settings = ApplicationSettings::new(config);
        Arc::new(Applications::new(self.postgres.clone(), settings))
    }

    fn revocations(&self, config: &Config, keys: &Arc<KeyRing>) -> Arc<Revocations> {
        let (keys, clock) = (keys.clone(), self.clock.clone());
        Arc::new(Revocations::new(
            self.postgres.clone(),
            self.redis.clone(),
            self.clock.clone(),
            RevocationSettings::new(config),
            move |kid| keys.revoke(kid, clock.now_ms()),
        ))
    }

    fn tokens(
        &self,
        config: &Config,
        revocations: &Arc<Revocations>,
        keys: &Arc<Keys>,
    ) -> Arc<Tokens> {
        Arc::new(Tokens {
            postgres: self.postgres.clone(),
            redis: self.redis.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            revocations: revocations.clone(),
            keys: keys.clone(),
            refresh_key: self.refresh_key.clone(),
            policy: self.policy.clone(),
            caches: TokenCaches::new(config),
            settings: TokenSettings::new(config),
        })
    }

    fn sessions(
        &self,
        config: &Config,
        tokens: &Arc<Tokens>,
        activity: &Arc<SessionActivityWriter>,
        applications: &Arc<Applications>,
    ) -> Arc<Sessions> {
        Arc::new(Sessions {
            postgres: self.postgres.clone(),
            redis: self.redis.clone(),
            store_health: self.store_health.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            audit: self.audit.clone(),
            rate_limits: self.rate_limits.clone(),
            hasher: self.hasher.clone(),
            tokens: tokens.clone(),
            activity: activity.clone(),
            applications: applications.handle(),
            refresh_key: self.refresh_key.clone(),
            policy: self.policy.clone(),
            renewed_cookies: RenewedCookies::default(),
            revocations: tokens.revocations.clone(),
            keys: tokens.keys.clone(),
            settings: SessionSettings::new(config),
        })
    }

    fn accounts(&self, config: &Config, sessions: &Arc<Sessions>) -> Arc<Accounts> {
        Arc::new(Accounts {
            postgres: self.postgres.clone(),
            redis: self.redis.clone(),
            tasks: self.tasks.clone(),
            audit: self.audit.clone(),
            rate_limits: self.rate_limits.clone(),
            hasher: self.hasher.clone(),
            revocations: sessions.revocations.clone(),
            keys: sessions.keys.clone(),
            tokens: sessions.tokens.clone(),
            sessions: sessions.clone(),
            mail: self.mail.clone(),
            code_keys: self.code_keys.clone(),
            settings: AccountSettings::new(config),
        })
    }

    fn users(&self, config: &Config, sessions: &Arc<Sessions>) -> Arc<Users> {
        Arc::new(Users {
            postgres: self.postgres.clone(),
            redis: self.redis.clone(),
            tasks: self.tasks.clone(),
            hasher: self.hasher.clone(),
            revocations: sessions.revocations.clone(),
            sessions: sessions.clone(),
            rate_limits: self.rate_limits.clone(),
            mail: self.mail.clone(),
            code_keys: self.code_keys.clone(),
            settings: UserSettings::new(config),
        })
    }

    fn oauth_clients(&self, revocations: &Arc<Revocations>) -> Arc<OAuthClients> {
        Arc::new(OAuthClients {
            postgres: self.postgres.clone(),
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
            audit: self.audit.clone(),
            revocations: revocations.clone(),
            policy: self.policy.clone(),
        })
    }
}
