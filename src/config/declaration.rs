//! The settings, declared once.

use std::{net::SocketAddr, time::Duration};

use super::{
    Mistake, Setting, Source,
    value::{
        Cidrs, CookieDomain, Hidden, Issuer, LogFilter, MailTransport, NOT_SET, Origins, Secret,
        Signup, Switch, Value,
    },
};
use crate::domain::{master_secret::MasterSecrets, throttle::Limit};

/// Declares [`Config`], [`SETTINGS`] and the reading of them all.
macro_rules! settings {
    ($(
        $field:ident: $type:ty, $variable:literal $($secret:ident)? $(= $default:literal)?,
        $help:literal;
    )*) => {
        /// The settings of a running gateway. It has no `Debug`, because some are secrets.
        pub struct Config { $(#[doc = $help] pub $field: $type,)* }

        /// Every setting, in the order of the README's table.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            variable: $variable,
            secret: settings!(@secret $($secret)?),
            default: settings!(@default $($default)?),
            help: $help,
        },)*];

        /// The settings as far as they could be read.
        pub(super) struct Draft { $(pub(super) $field: Option<$type>,)* }

        impl Draft {
            pub(super) fn read(source: &Source, mistakes: &mut Vec<Mistake>) -> Draft {
                let mut settings = SETTINGS.iter();
                let mut next = || settings.next().expect("as many as fields");
                Draft { $($field: read(source, next(), mistakes),)* }
            }

            pub(super) fn complete(self) -> Option<Config> {
                Some(Config { $($field: self.$field?,)* })
            }
        }
    };
    (@secret secret) => { true };
    (@secret) => { false };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
}

fn read<T: Value>(source: &Source, setting: &Setting, mistakes: &mut Vec<Mistake>) -> Option<T> {
    let read = source.resolve(setting).and_then(|text| {
        let missing = || {
            T::missing().map_err(|reason| {
                if reason == NOT_SET {
                    format!("{reason}: {}", setting.help)
                } else {
                    reason
                }
            })
        };
        let read = text.map_or_else(missing, |text| T::read(text.trim()));
        read.map_err(|reason| Mistake {
            variable: setting.variable,
            reason,
        })
    });
    read.map_err(|mistake| mistakes.push(mistake)).ok()
}

settings! {
    listen: SocketAddr, "LATCHKEY_LISTEN" = "127.0.0.1:8000",
        "address and port; port 0 picks a free one and prints it";
    metrics_listen: SocketAddr, "LATCHKEY_METRICS_LISTEN" = "127.0.0.1:9464",
        "address and port of `/metrics`, away from the public";
    database_url: Secret, "DATABASE_URL" secret,
        "PostgreSQL, such as `postgres://user:password@host/database`; several hosts are allowed";
    redis_url: Secret, "REDIS_URL" secret,
        "Redis 7.0 or Valkey 7.2 and later, such as `redis://host` or `rediss://host`";
    secret: Hidden<MasterSecrets>, "LATCHKEY_SECRET" secret,
        "master secret, at least 32 random bytes in base64 or hexadecimal; the same for all \
         replicas; two with a comma between them while it is exchanged: the first makes, both are \
         accepted";
    issuer: Issuer, "LATCHKEY_ISSUER",
        "public base address: `iss` of tokens and links in mails; the same for all replicas";
    audience: Option<String>, "LATCHKEY_AUDIENCE",
        "`aud` of access tokens; the issuer when not set";
    insecure_http: Switch, "LATCHKEY_INSECURE_HTTP" = "no",
        "`yes` allows an http issuer on an address that is not loopback";
    access_lifetime: Duration, "LATCHKEY_ACCESS_LIFETIME" = "15m",
        "lifetime of an access token, at most 1h";
    session_idle_timeout: Duration, "LATCHKEY_SESSION_IDLE_TIMEOUT" = "7d",
        "a session that is not refreshed for this long ends";
    session_max_lifetime: Duration, "LATCHKEY_SESSION_MAX_LIFETIME" = "30d",
        "absolute end of a session, whatever happens";
    refresh_reuse_interval: Duration, "LATCHKEY_REFRESH_REUSE_INTERVAL" = "10s",
        "for so long the parent of an unused refresh token gives the same child again; 0s for \
         never";
    cookie_idle_timeout: Duration, "LATCHKEY_COOKIE_IDLE_TIMEOUT" = "10m",
        "idle timeout of a browser session, sliding, at most 1h";
    cookie_domain: Option<CookieDomain>, "LATCHKEY_COOKIE_DOMAIN",
        "domain whose hosts share the browser's cookie; when not set, it is of the gateway's own \
         host";
    clock_skew: Duration, "LATCHKEY_CLOCK_SKEW" = "5s",
        "allowed for `iat` and `nbf`; `exp` has no leeway";
    code_lifetime: Duration, "LATCHKEY_CODE_LIFETIME" = "10m",
        "lifetime of a mailed one-time code, at most 10m";
    smtp_url: MailTransport, "LATCHKEY_SMTP_URL" secret,
        "`smtp://` (with STARTTLS) or `smtps://`, with user and password as needed, or `off`; for \
         development, with a loopback issuer, `file:/absolute/folder` writes one `.eml` file per \
         email";
    email_from: String, "LATCHKEY_EMAIL_FROM" = "Latchkey <no-reply@localhost>",
        "sender of mails";
    signup: Signup, "LATCHKEY_SIGNUP" = "open",
        "who may create accounts: `open` for anybody, `admin` for administrators and the operator \
         only";
    password_min: usize, "LATCHKEY_PASSWORD_MIN" = "8",
        "minimum length of a password (15 is advised where there is no second factor)";
    trusted_proxies: Cidrs, "LATCHKEY_TRUSTED_PROXIES" = "none",
        "networks whose `X-Forwarded-*` is believed, such as `10.0.0.0/8,::1/128`";
    identity_assertions: Switch, "LATCHKEY_IDENTITY_ASSERTIONS" = "no",
        "`yes` has forward-auth say who it is in a signed header as well, `X-Auth-Assertion`, for \
         the host that a trusted proxy names";
    rate_limits: Switch, "LATCHKEY_RATE_LIMITS" = "on",
        "`off` lets everybody try as often as they like, for load tests";
    limit_sign_in: Limit, "LATCHKEY_LIMIT_SIGN_IN" = "10/15m",
        "wrong passwords for one account from one network";
    limit_sign_in_network: Limit, "LATCHKEY_LIMIT_SIGN_IN_NETWORK" = "100/10m",
        "wrong passwords and codes from one network, for whatever accounts";
    limit_sign_in_account: Limit, "LATCHKEY_LIMIT_SIGN_IN_ACCOUNT" = "50/1h",
        "wrong passwords for one account from everywhere; beyond it a try waits 2s, and is never \
         refused";
    limit_sign_up: Limit, "LATCHKEY_LIMIT_SIGN_UP" = "50/1h",
        "sign-ups from one network";
    limit_reset_request: Limit, "LATCHKEY_LIMIT_RESET_REQUEST" = "20/1h",
        "requests for a code from one network";
    limit_email: Limit, "LATCHKEY_LIMIT_EMAIL" = "6/1h",
        "mails of one kind to one recipient that a stranger can cause; beyond it none is sent, and \
         nobody is told";
    limit_code: Limit, "LATCHKEY_LIMIT_CODE" = "5/1h",
        "wrong codes for one account from one network";
    limit_code_account: Limit, "LATCHKEY_LIMIT_CODE_ACCOUNT" = "50/1h",
        "wrong codes for one account from everywhere; beyond it a try waits 2s, and is never \
         refused";
    limit_refresh_failures: Limit, "LATCHKEY_LIMIT_REFRESH_FAILURES" = "100/10m",
        "refreshes from one network that fail; a good token passes all the same";
    cors_origins: Origins, "LATCHKEY_CORS_ORIGINS" = "none",
        "exact origins of browser programs elsewhere, such as `https://app.example.com`";
    redis_prefix: String, "LATCHKEY_REDIS_PREFIX" = "lk",
        "prefix of keys, so that several gateways can share a Redis";
    redis_timeout: Duration, "LATCHKEY_REDIS_TIMEOUT" = "100ms",
        "for one operation of Redis, connecting included";
    database_timeout: Duration, "LATCHKEY_DATABASE_TIMEOUT" = "2s",
        "for one story in PostgreSQL, connecting included";
    database_connections: usize, "LATCHKEY_DATABASE_CONNECTIONS" = "16",
        "most connections to PostgreSQL of a replica; eight of them are for single users and \
         items, and open when they are needed";
    hash_threads: usize, "LATCHKEY_HASH_THREADS" = "cores",
        "threads that hash passwords, 19 MiB each; never more than cores";
    hash_wait: Duration, "LATCHKEY_HASH_WAIT" = "2s",
        "a sign-in that would wait longer for a hash thread is answered 503";
    key_rotation: Duration, "LATCHKEY_KEY_ROTATION" = "30d",
        "how long a signing key signs before the next one takes over, at least 1h; 0s: until \
         `latchkey keys rotate`";
    jwks_max_age: Duration, "LATCHKEY_JWKS_MAX_AGE" = "5m",
        "how long others may keep `/.well-known/jwks.json`, at most 1h; a key is published for \
         twice as long before it signs";
    lease: Duration, "LATCHKEY_LEASE" = "250ms",
        "how long a replica answers checks from memory before it must hear from Redis, 20ms to 3s; \
         comes into force for all replicas by `latchkey revocations rebuild`; 0s: this replica \
         asks Redis for each check";
    token_cache_size: usize, "LATCHKEY_TOKEN_CACHE_SIZE" = "50000",
        "access tokens whose signature a replica remembers, about 2 kB each; 0 checks every \
         signature anew";
    revocation_streams: usize, "LATCHKEY_REVOCATION_STREAMS" = "64",
        "most streams of `GET /revocations` of a replica; beyond them it is 503";
    body_limit: usize, "LATCHKEY_BODY_LIMIT" = "65536",
        "largest body of a request, in bytes";
    audit_retention: Duration, "LATCHKEY_AUDIT_RETENTION" = "400d",
        "how long security events are kept: a year, and time to look back at it; whole months are \
         dropped";
    cleanup_interval: Duration, "LATCHKEY_CLEANUP_INTERVAL" = "10m",
        "how often what is over is removed from PostgreSQL, by one replica at a time";
    drain_delay: Duration, "LATCHKEY_DRAIN_DELAY" = "2s",
        "after SIGTERM: not ready, but accepting, so that balancers notice";
    log: LogFilter, "LATCHKEY_LOG" = "info",
        "what is logged (a `tracing` filter); JSON when stdout is no terminal";
}
