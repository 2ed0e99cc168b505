//! The settings, declared once.

use std::{net::SocketAddr, time::Duration};

use latchkey_domain::{
    account::ReservedUsernames,
    cookie_names::CookieBaseName,
    master_secret::MasterSecrets,
    password::{Argon2Implementation, PasswordList},
    rate_limit::RateLimit,
};

use super::{
    ConfigError, Setting, Source,
    value::{
        Brand, Cidrs, ContactUri, CookieDomain, InitialApplications, Issuer, LogFilter,
        MailTransport, OnOff, Origins, REQUIRED, Signup, StoreUrl, Theme, Toggle, Value,
    },
};

/// Declares [`Config`], [`SETTINGS`], and the code that reads them.
macro_rules! settings {
    ($($group:literal {$(
        $field:ident: $type:ty, $variable:literal $($secret:ident)? $(= $default:literal)?,
        $help:literal;
    )*})*) => {
        /// The settings of a server. It has no `Debug`, because it contains secrets.
        pub struct Config { $($(#[doc = $help] pub $field: $type,)*)* }

        /// Every setting, in the order of the reference page.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            variable: $variable,
            group: $group,
            secret: settings!(@secret $($secret)?),
            default: settings!(@default $($default)?),
            help: $help,
        },)*)*];

        /// The values of the settings; `None` if a value is invalid.
        pub(super) struct Draft { $($(pub(super) $field: Option<$type>,)*)* }

        impl Draft {
            pub(super) fn read(source: &Source, errors: &mut Vec<ConfigError>) -> Draft {
                let mut settings = SETTINGS.iter();
                let mut next = || settings.next().expect("one setting per field");
                Draft { $($($field: read_setting(source, next(), errors),)*)* }
            }

            pub(super) fn effective_config(self) -> Option<Config> {
                Some(Config { $($($field: self.$field?,)*)* })
            }
        }
    };
    (@secret secret) => { true };
    (@secret) => { false };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
}

/// Parses a setting. An error is added to `errors`.
fn read_setting<T: Value>(
    source: &Source,
    setting: &Setting,
    errors: &mut Vec<ConfigError>,
) -> Option<T> {
    let result = source.resolve(setting).and_then(|text| {
        let missing = || {
            T::missing().map_err(|reason| {
                if reason == REQUIRED {
                    format!("{reason}. {}", setting.help)
                } else {
                    reason
                }
            })
        };
        let value = text.map_or_else(missing, |text| T::read(text.trim()));
        value.map_err(|reason| ConfigError {
            variable: setting.variable,
            reason,
        })
    });
    result.map_err(|error| errors.push(error)).ok()
}

settings! {
    "Required" {
        database_url: StoreUrl, "DATABASE_URL" secret,
            "URL of PostgreSQL, for example `postgres://USER:PASSWORD@HOST/DATABASE`. Several \
             hosts are allowed.";
        redis_url: StoreUrl, "REDIS_URL" secret,
            "URL of Redis 7.0 or later, or of Valkey 7.2 or later, for example `redis://HOST`, or \
             `rediss://HOST` with TLS";
        secret: MasterSecrets, "LATCHKEY_SECRET" secret,
            "Master secret: at least 32 random bytes in base64 or hexadecimal, the same for all \
             replicas. During rotation, set two comma-separated secrets: the first is used for new \
             tokens, both are accepted.";
        issuer: Issuer, "LATCHKEY_ISSUER",
            "Public base URL, the same for all replicas: the `iss` claim of tokens, and the base \
             of links in email";
        smtp_url: MailTransport, "LATCHKEY_SMTP_URL" secret,
            "URL of the SMTP server, `smtp://` (STARTTLS) or `smtps://`, with username and \
             password if it requires them, or `off`. For development with a loopback issuer, \
             `file:/ABSOLUTE/FOLDER` writes one `.eml` file per email.";
    }
    "Network" {
        listen: SocketAddr, "LATCHKEY_LISTEN" = "127.0.0.1:8000",
            "IP address and port of the API. Port 0 selects a free port, which the log contains.";
        metrics_listen: SocketAddr, "LATCHKEY_METRICS_LISTEN" = "127.0.0.1:9464",
            "IP address and port of `/metrics` and of the details of `/health/ready`. Keep it off \
             public networks.";
        insecure_http: Toggle, "LATCHKEY_INSECURE_HTTP" = "no",
            "`yes` allows an `http://` issuer that isn't a loopback address";
        trusted_proxies: Cidrs, "LATCHKEY_TRUSTED_PROXIES" = "none",
            "IP addresses or CIDR ranges of proxies whose `X-Forwarded-*` headers are trusted, for \
             example `10.0.0.5,::1`. List only proxies that replace these headers: every other host \
             in a range can choose its IP address, and so bypass rate limits.";
        cors_origins: Origins, "LATCHKEY_CORS_ORIGINS" = "none",
            "Origins of browser applications on other hosts, compared exactly, for example \
             `https://app.example.com`. Their pages can read responses. With \
             `LATCHKEY_COOKIE_DOMAIN`, they can also use the session cookie.";
        body_limit: usize, "LATCHKEY_BODY_LIMIT" = "65536",
            "Maximum size of a request body, in bytes";
    }
    "Users and email" {
        signup: Signup, "LATCHKEY_SIGNUP" = "open",
            "Registration of users. `open` registers a user at once, and reveals which email \
             addresses are registered. `verify` completes a registration with a code that is sent \
             to the email address, and doesn't reveal them; it requires `LATCHKEY_SMTP_URL`. With \
             `admin`, only administrators and the operator can create users.";
        reserved_usernames: ReservedUsernames, "LATCHKEY_RESERVED_USERNAMES" = "none",
            "Usernames, comma-separated, that users can't choose, in addition to a built-in list \
             with names such as `admin` and `support`. Administrators and the operator can assign \
             them.";
        name_reservation: Duration, "LATCHKEY_NAME_RESERVATION" = "90d",
            "Time for which no other user can take a username or verified email address that a user \
             has released, by a change or by deletion. At least `70m`, because tokens contain names \
             until they expire.";
        password_min: usize, "LATCHKEY_PASSWORD_MIN" = "8",
            "Minimum length of a password, in characters. 15 is recommended, because Latchkey \
             has no second factor.";
        password_list: PasswordList, "LATCHKEY_PASSWORD_LIST" = "none",
            "File with passwords that are rejected, one per line, in addition to the 10,000 most \
             common ones. The server reads it at the start.";
        email_from: String, "LATCHKEY_EMAIL_FROM" = "Latchkey <no-reply@localhost>",
            "Sender of email";
        code_lifetime: Duration, "LATCHKEY_CODE_LIFETIME" = "10m",
            "Lifetime of an emailed one-time code, at most `10m`";
        invitation_lifetime: Duration, "LATCHKEY_INVITATION_LIFETIME" = "72h",
            "Lifetime of the code of an invitation, `1h` to `168h`. A user without a password sets one \
             with it.";
    }
    "Web pages" {
        web: OnOff, "LATCHKEY_WEB" = "on",
            "`off` removes the pages for users, such as `/sign-in` and `/account`. The API, its \
             documentation, and the descriptions of errors remain.";
        brand: Brand, "LATCHKEY_BRAND" = "Latchkey",
            "Name of the service in pages and emails";
        help_url: Option<ContactUri>, "LATCHKEY_HELP_URL",
            "`https://`, `mailto:`, or `tel:+` URI of the help link in pages and emails. Unset: no \
             link in pages, and emails contain the issuer.";
        theme: Option<Theme>, "LATCHKEY_THEME",
            "CSS file that changes the appearance of pages, at most 64 KiB. The server reads it at \
             the start.";
    }
    "Tokens and sessions" {
        audience: Option<String>, "LATCHKEY_AUDIENCE",
            "`aud` claim of tokens of users, and the only audience that this server accepts. \
             Unset: the issuer.";
        access_lifetime: Duration, "LATCHKEY_ACCESS_LIFETIME" = "15m",
            "Lifetime of an access token, at most `1h`";
        session_idle_timeout: Duration, "LATCHKEY_SESSION_IDLE_TIMEOUT" = "7d",
            "Idle timeout of a session: without a refresh for this long, it expires";
        session_max_lifetime: Duration, "LATCHKEY_SESSION_MAX_LIFETIME" = "30d",
            "Maximum lifetime of a session";
        refresh_reuse_interval: Duration, "LATCHKEY_REFRESH_REUSE_INTERVAL" = "10s",
            "Reuse interval: for this long after rotation, the previous refresh token still \
             returns the same new refresh token. Outages of Redis extend it by at most 2 minutes. \
             `0s` disables it.";
        cookie_idle_timeout: Duration, "LATCHKEY_COOKIE_IDLE_TIMEOUT" = "10m",
            "Idle timeout of a browser session (sliding expiration), at most `1h`";
        applications: InitialApplications, "LATCHKEY_APPLICATIONS" = "none",
            "Applications behind a proxy, to which browsers sign in with a cookie of their own, for \
             example `https://app.example.com,https://*.example.net?role=admin`. The query can \
             contain `role`, `scope`, and `group`, as in the URL of a check. Stored while there is no \
             application; then use `latchkey application`.";
        application_idle_timeout: Duration, "LATCHKEY_APPLICATION_IDLE_TIMEOUT" = "1h",
            "Idle timeout of a browser at an application, at most `1h` (sliding expiration)";
        cookie_domain: Option<CookieDomain>, "LATCHKEY_COOKIE_DOMAIN",
            "`Domain` attribute of the session cookie. Unset: a host-only cookie.";
        cookie_name: CookieBaseName, "LATCHKEY_COOKIE_NAME" = "latchkey",
            "Base name of all cookies: `latchkey`, or `latchkey_` and 1 to 23 lowercase letters or \
             digits, for example `latchkey_staging`. Environments below one domain need different \
             names, because browsers can send the cookies of one to another.";
        identity_assertions: Toggle, "LATCHKEY_IDENTITY_ASSERTIONS" = "no",
            "`yes` adds a signed identity assertion, the header `X-Auth-Assertion`, to forward \
             authentication. Its audience is the origin of the upstream, from the headers of a \
             trusted proxy.";
        clock_skew: Duration, "LATCHKEY_CLOCK_SKEW" = "1m",
            "Tolerance for differences between clocks, at most `1m`, also for the claims `iat` and `nbf` (`exp` \
             has no tolerance). A replica isn't ready if its clock differs from those of both stores \
             by this value or more; differences below `5s` are always tolerated.";
    }
    "Signing keys" {
        key_rotation: Duration, "LATCHKEY_KEY_ROTATION" = "30d",
            "Interval of signing key rotation, at least `1h`. With `0s`, keys rotate only with \
             `latchkey keys rotate`.";
        jwks_max_age: Duration, "LATCHKEY_JWKS_MAX_AGE" = "5m",
            "Time for which clients can cache `/.well-known/jwks.json`, at most `1h`. A key is \
             published for twice this time before it signs.";
    }
    "Rate limits" {
        rate_limits: OnOff, "LATCHKEY_RATE_LIMITS" = "on",
            "`off` disables rate limiting (load tests only)";
        limit_sign_in: RateLimit, "LATCHKEY_LIMIT_SIGN_IN" = "10/15m",
            "Incorrect passwords per user and network";
        limit_sign_in_network: RateLimit, "LATCHKEY_LIMIT_SIGN_IN_NETWORK" = "100/10m",
            "Incorrect passwords and codes per network, across all users";
        limit_sign_in_account: RateLimit, "LATCHKEY_LIMIT_SIGN_IN_ACCOUNT" = "50/1h",
            "Incorrect passwords per user, across all networks. Above it, attempts are delayed by \
             up to 2 s but not rejected.";
        limit_sign_up: RateLimit, "LATCHKEY_LIMIT_SIGN_UP" = "50/1h",
            "Registrations and username changes per network";
        limit_reset_request: RateLimit, "LATCHKEY_LIMIT_RESET_REQUEST" = "20/1h",
            "Requests for one-time codes, per network";
        limit_email: RateLimit, "LATCHKEY_LIMIT_EMAIL" = "6/1h",
            "Emails per recipient, counted separately for reset codes, verification codes, \
             sign-ups, and all other emails. Emails above the limit are silently dropped.";
        limit_code: RateLimit, "LATCHKEY_LIMIT_CODE" = "5/1h",
            "Incorrect codes per user and network";
        limit_code_account: RateLimit, "LATCHKEY_LIMIT_CODE_ACCOUNT" = "50/1h",
            "Incorrect codes per user, across all networks. Above it, attempts are delayed by up \
             to 2 s but not rejected.";
        limit_refresh_failures: RateLimit, "LATCHKEY_LIMIT_REFRESH_FAILURES" = "100/10m",
            "Failed refreshes per network. Valid refresh tokens are not affected.";
    }
    "Stores" {
        database_timeout: Duration, "LATCHKEY_DATABASE_TIMEOUT" = "2s",
            "Timeout per database transaction, including the wait for a connection";
        database_connect_timeout: Duration, "LATCHKEY_DATABASE_CONNECT_TIMEOUT" = "5s",
            "Timeout of an attempt to connect to PostgreSQL. An attempt continues after the transaction \
             that waits for it has timed out, so this timeout can be longer.";
        database_connections: usize, "LATCHKEY_DATABASE_CONNECTIONS" = "16",
            "Maximum PostgreSQL connections per replica. Eight are reserved for batched lookups \
             and opened when needed.";
        redis_prefix: String, "LATCHKEY_REDIS_PREFIX" = "lk",
            "Prefix of Redis keys and channels. Keys also contain the database ID, so deployments \
             with different databases can share a Redis and a prefix. A copy of a database has the \
             same ID: give it another prefix or another Redis.";
        redis_timeout: Duration, "LATCHKEY_REDIS_TIMEOUT" = "100ms",
            "Timeout per Redis operation, including the wait for a connection";
        redis_connect_timeout: Duration, "LATCHKEY_REDIS_CONNECT_TIMEOUT" = "2s",
            "Timeout of an attempt to connect to Redis. An attempt continues after the operation that \
             waits for it has timed out, so this timeout can be longer.";
    }
    "Checks and capacity" {
        lease: Duration, "LATCHKEY_LEASE" = "250ms",
            "Lease: how long a replica can serve checks from memory without contact with Redis, \
             `20ms` to `3s`. `latchkey revocations rebuild` applies a new value to all replicas. \
             With `0s`, this replica checks Redis on every request.";
        token_cache_size: usize, "LATCHKEY_TOKEN_CACHE_SIZE" = "50000",
            "Access tokens whose signature a replica caches, about 2 kB each. With `0`, every \
             signature is verified.";
        revocation_streams: usize, "LATCHKEY_REVOCATION_STREAMS" = "64",
            "Maximum concurrent streams of `GET /revocations` per replica. Further requests get \
             503.";
        hash_implementation: Argon2Implementation, "LATCHKEY_HASH_IMPLEMENTATION" = "rustcrypto",
            "Implementation of Argon2. `rustcrypto` has years of use. `argon2-rust` needs less \
             CPU time, but it isn't audited and contains hundreds of `unsafe` blocks. With AVX2, a \
             hash takes 18.5 ms of CPU time with `rustcrypto` and 13.0 ms with `argon2-rust`. \
             With AVX-512, it takes 12.5 ms and 4.3 ms (November 2026). Replicas can differ, \
             because the hashes are equal.";
        hash_threads: usize, "LATCHKEY_HASH_THREADS" = "cores",
            "Threads that hash passwords, 19 MiB each, at most the number of cores";
        hash_wait: Duration, "LATCHKEY_HASH_WAIT" = "2s",
            "Maximum wait for a hash thread. A sign-in that would wait longer gets 503.";
    }
    "Operation" {
        audit_retention: Duration, "LATCHKEY_AUDIT_RETENTION" = "400d",
            "Retention of audit events. Whole months are deleted.";
        cleanup_interval: Duration, "LATCHKEY_CLEANUP_INTERVAL" = "10m",
            "Interval of the cleanup worker, which deletes expired rows from PostgreSQL on one \
             replica at a time";
        drain_delay: Duration, "LATCHKEY_DRAIN_DELAY" = "2s",
            "Delay after SIGTERM during which the replica reports not ready and still accepts \
             requests, so that load balancers stop sending requests";
        security_contact: Option<ContactUri>, "LATCHKEY_SECURITY_CONTACT",
            "Contact for reports of vulnerabilities, published at `/.well-known/security.txt` \
             (RFC 9116): a `mailto:`, `https:`, or `tel:` URI, for example \
             `mailto:security@example.com`. Unset: the path returns 404.";
        log: LogFilter, "LATCHKEY_LOG" = "info",
            "Log level, or a filter in `tracing` syntax. Security events have the target `audit`: \
             `warn,audit=info` logs security events, and otherwise only warnings and errors. The \
             log is JSON if stdout isn't a terminal.";
    }
}
