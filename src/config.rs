//! Settings: the only reader of the environment.
//!
//! One declaration, at the end of this file, gives the struct, the flags with their `--help`, the README's table,
//! `.env.example` and `latchkey config`. A setting that holds a secret has no flag, because flags show in `ps`; it has a
//! `…_FILE` form instead, as every other setting has not.

mod range;
mod unknown;
mod value;

use std::{collections::HashMap, fmt, net::SocketAddr, path::Path, time::Duration};

use clap::{Arg, ArgMatches};

use range::Range;
pub use value::{Cidrs, CookieDomain, Issuer, LogFilter, MailTransport, Origins, Secret, Signup, Switch};
use value::{Hidden, LONGEST_IN_TOKENS, NOT_SET, Value};

use crate::domain::{master_secret::MasterSecrets, password::SHORTEST_MINIMUM, throttle::Limit};

/// What is known about one setting beside its value.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// Whether it holds a secret: no flag, a `…_FILE` form, masked wherever it is shown.
    pub secret: bool,
    /// What holds when nobody says otherwise.
    pub default: Option<&'static str>,
    /// One line for people.
    pub help: &'static str,
}

/// One wrong setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The environment variable.
    pub variable: &'static str,
    /// What is wrong with it; never its value.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

/// Where settings come from: flags first, then the environment, then `.env` in the working folder.
pub struct Source {
    flags: HashMap<&'static str, String>,
    file: HashMap<String, String>,
    environment: bool,
    /// What is wrong with `.env` itself.
    broken: Option<Mistake>,
}

impl Source {
    /// The flags of this command line, over the environment, over `.env`.
    pub fn new(matches: &ArgMatches) -> Source {
        let flag = |setting: &Setting| {
            let text = matches.try_get_one::<String>(setting.variable).ok().flatten()?;
            Some((setting.variable, text.clone()))
        };
        let (file, broken) = env_file(Path::new(".env"));
        Source { flags: SETTINGS.iter().filter_map(flag).collect(), file, environment: true, broken }
    }

    /// Nothing is set.
    pub fn empty() -> Source {
        Source { flags: HashMap::new(), file: HashMap::new(), environment: false, broken: None }
    }

    /// The text of a variable that is set and not empty.
    pub fn text(&self, variable: &str) -> Option<String> {
        let environment = self.environment.then(|| std::env::var(variable).ok()).flatten();
        let set = environment.or_else(|| self.file.get(variable).cloned());
        self.flags.get(variable).cloned().or(set).filter(|text| !text.is_empty())
    }

    /// The text of a secret, from the variable or from the file that its `…_FILE` form names.
    pub fn secret_text(&self, variable: &'static str) -> Result<Option<String>, Mistake> {
        SETTINGS.iter().find(|setting| setting.variable == variable).map_or(Ok(None), |setting| self.resolve(setting))
    }

    /// Names that look like settings and are none: a slip that would leave a default in force.
    fn unknown(&self) -> impl Iterator<Item = Mistake> {
        let environment = self.environment.then(|| std::env::vars_os().map(|(name, _)| name)).into_iter().flatten();
        let names = environment.filter_map(|name| name.into_string().ok()).chain(self.file.keys().cloned());
        unknown::among(names.collect())
    }

    /// Whether somebody set the variable, in either form.
    pub fn is_given(&self, variable: &str) -> bool {
        self.text(variable).is_some() || self.text(&format!("{variable}_FILE")).is_some()
    }

    fn resolve(&self, setting: &Setting) -> Result<Option<String>, Mistake> {
        let given = match self.text(setting.variable) {
            None if setting.secret => self.secret_file(setting)?,
            given => given,
        };
        Ok(given.or_else(|| setting.default.map(str::to_owned)))
    }

    fn secret_file(&self, setting: &Setting) -> Result<Option<String>, Mistake> {
        let Some(path) = self.text(&format!("{}_FILE", setting.variable)) else { return Ok(None) };
        let unreadable = |error| Mistake {
            variable: setting.variable,
            reason: format!("is in a file that cannot be read: {error}"),
        };
        std::fs::read_to_string(path).map(|text| Some(text.trim_end().to_owned())).map_err(unreadable)
    }
}

/// What `.env` says, and whether all of it could be read. No file says nothing.
fn env_file(path: &Path) -> (HashMap<String, String>, Option<Mistake>) {
    let Ok(pairs) = dotenvy::from_path_iter(path) else { return Default::default() };
    let (read, broken): (Vec<_>, Vec<_>) = pairs.partition(Result::is_ok);
    let reason = "has a line that cannot be read; a value with spaces goes into quotes".to_owned();
    let mistake = (!broken.is_empty()).then_some(Mistake { variable: ".env", reason });
    (read.into_iter().filter_map(Result::ok).collect(), mistake)
}

impl Config {
    /// Reads all settings; every mistake is reported, not only the first.
    pub fn load(source: &Source) -> Result<Config, Vec<Mistake>> {
        let mut mistakes: Vec<Mistake> = source.broken.iter().cloned().chain(source.unknown()).collect();
        let draft = Draft::read(source, &mut mistakes);
        mistakes.extend(draft.contradictions());
        match draft.complete() {
            Some(config) if mistakes.is_empty() => Ok(config),
            _wrong => Err(mistakes),
        }
    }

    /// The audience of access tokens: the issuer, unless another one is set.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(self.issuer.as_str())
    }
}

impl Draft {
    /// What can be read but must not be, alone or beside another setting.
    fn contradictions(&self) -> Vec<Mistake> {
        let mistake = |variable, reason: String| Mistake { variable, reason };
        let ranges = self.ranges().into_iter().filter_map(|range| Some(mistake(range.variable, range.reason()?)));
        let unsafe_issuer = self.issuer.as_ref().is_some_and(|issuer| !issuer.is_safe());
        let long_audience = self.audience.iter().flatten().any(|audience| audience.len() > LONGEST_IN_TOKENS);
        let foreign_domain = self.issuer.as_ref().zip(self.cookie_domain.as_ref().and_then(Option::as_ref));
        let rules = [
            (
                long_audience,
                "LATCHKEY_AUDIENCE",
                "must have at most 255 characters, because tokens and cookies hold it",
            ),
            (
                foreign_domain.is_some_and(|(issuer, domain)| !issuer.is_within(domain)),
                "LATCHKEY_COOKIE_DOMAIN",
                "must be the host of LATCHKEY_ISSUER or a domain above it, or browsers refuse the cookie",
            ),
            (
                unsafe_issuer && self.insecure_http.is_some_and(|allowed| !allowed.0),
                "LATCHKEY_ISSUER",
                "must be an https address (TLS ends at the proxy); set LATCHKEY_INSECURE_HTTP=yes to run without TLS all the same",
            ),
            (
                self.refresh_idle_ttl.zip(self.session_ttl).is_some_and(|(idle, whole)| idle > whole),
                "LATCHKEY_REFRESH_IDLE_TTL",
                "must not be longer than LATCHKEY_SESSION_TTL",
            ),
        ];
        let broken = rules.into_iter().filter(|(broken, _, _)| *broken);
        ranges.chain(broken.map(|(_, variable, reason)| mistake(variable, reason.to_owned()))).collect()
    }

    fn ranges(&self) -> Vec<Range> {
        let (time, count) = (Range::of_time, Range::of_count);
        let (second, hour, forever) = (Duration::from_secs(1), Duration::from_secs(3600), Duration::MAX);
        vec![
            time("LATCHKEY_ACCESS_TTL", self.access_ttl, second, hour),
            time("LATCHKEY_REFRESH_IDLE_TTL", self.refresh_idle_ttl, second, forever),
            time("LATCHKEY_REFRESH_GRACE", self.refresh_grace, Duration::ZERO, second * 60),
            // 0 is off. A shorter one could not be renewed in time, and a logout waits for a longer one.
            time("LATCHKEY_LEASE", self.lease.filter(|lease| !lease.is_zero()), Duration::from_millis(20), 3 * second),
            time("LATCHKEY_KEY_ROTATION", self.key_rotation.filter(|time| !time.is_zero()), hour, forever),
            time("LATCHKEY_JWKS_MAX_AGE", self.jwks_max_age, second, hour),
            time("LATCHKEY_COOKIE_IDLE_TTL", self.cookie_idle_ttl, second, hour),
            time("LATCHKEY_CODE_TTL", self.code_ttl, second, second * 600),
            time("LATCHKEY_AUDIT_RETENTION", self.audit_retention, hour * 24, forever),
            time("LATCHKEY_JANITOR_INTERVAL", self.janitor_interval, second, hour * 24),
            time("LATCHKEY_REDIS_TIMEOUT", self.redis_timeout, second / 1000, forever),
            time("LATCHKEY_DATABASE_TIMEOUT", self.database_timeout, second / 1000, forever),
            count("LATCHKEY_PASSWORD_MIN", self.password_min, SHORTEST_MINIMUM as u128, 128),
            count("LATCHKEY_HASH_THREADS", self.hash_threads, 1, u128::MAX),
            count("LATCHKEY_VERIFIED_TOKENS", self.verified_tokens, 0, 10_000_000),
            count("LATCHKEY_FEEDS", self.feeds, 0, 10_000),
            // Eight are for what many ask at the same moment; of the others, one story may hold one while another writes.
            count("LATCHKEY_DATABASE_CONNECTIONS", self.database_connections, 10, u128::MAX),
        ]
    }
}

/// The flags: one for each setting that holds no secret.
pub fn arguments() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().filter(|setting| !setting.secret).map(|setting| {
        let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        Arg::new(setting.variable)
            .long(flag(setting))
            .value_name("VALUE")
            .help(format!("{} [env: {}]{default}", setting.help, setting.variable))
            .help_heading("Settings")
    })
}

/// The settings without a flag, for the end of `--help`.
pub fn secrets_help() -> String {
    let lines = SETTINGS
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| format!("  {:<18} {}", setting.variable, setting.help));
    let lines: Vec<_> = lines.collect();
    format!(
        "Secrets come from the environment only, because flags show in `ps`; each has a …_FILE form that names a file:\n{}",
        lines.join("\n")
    )
}

/// The effective settings, one `VARIABLE=value` a line, secrets masked.
pub fn effective(source: &Source) -> String {
    let line = |setting: &Setting| match source.resolve(setting) {
        Ok(Some(_)) if setting.secret => format!("{}=(set, not shown)\n", setting.variable),
        Ok(Some(text)) if text.contains(' ') => format!("{}=\"{text}\"\n", setting.variable),
        Ok(Some(text)) => format!("{}={text}\n", setting.variable),
        Ok(None) | Err(_) => format!("# {} is not set\n", setting.variable),
    };
    SETTINGS.iter().map(line).collect()
}

/// The README's table.
pub fn readme_table() -> String {
    let row = |setting: &Setting| {
        let mark = if setting.secret { " ●" } else { "" };
        let default = setting.default.map_or("none".to_owned(), |default| format!("`{default}`"));
        format!("| `{}`{mark} | {default} | {} |\n", setting.variable, setting.help)
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!("| variable | default | meaning |\n|---|---|---|\n{rows}")
}

/// `.env.example`: what must be set, and everything else commented out with its default.
pub fn env_example() -> String {
    let line = |setting: &Setting| {
        let mark = if setting.default.is_some() { "# " } else { "" };
        let default = setting.default.unwrap_or_default();
        let quote = if default.contains(' ') { "\"" } else { "" };
        format!("# {}\n{mark}{}={quote}{default}{quote}\n\n", setting.help, setting.variable)
    };
    let lines: String = SETTINGS.iter().map(line).collect();
    format!(
        "# Settings of Latchkey; copy this file to .env. An empty value counts as not set.\n\n{}\n",
        lines.trim_end()
    )
}

fn flag(setting: &Setting) -> String {
    setting.variable.trim_start_matches("LATCHKEY_").to_ascii_lowercase().replace('_', "-")
}

/// Declares [`Config`], [`SETTINGS`] and the reading of them all.
macro_rules! settings {
    ($($field:ident: $type:ty, $variable:literal $($secret:ident)? $(= $default:literal)?, $help:literal;)*) => {
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
        struct Draft { $($field: Option<$type>,)* }

        impl Draft {
            fn read(source: &Source, mistakes: &mut Vec<Mistake>) -> Draft {
                let mut settings = SETTINGS.iter();
                Draft { $($field: read(source, settings.next().expect("as many as fields"), mistakes),)* }
            }

            fn complete(self) -> Option<Config> {
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
            T::missing()
                .map_err(|reason| if reason == NOT_SET { format!("{reason}: {}", setting.help) } else { reason })
        };
        let read = text.map_or_else(missing, |text| T::read(text.trim()));
        read.map_err(|reason| Mistake { variable: setting.variable, reason })
    });
    read.map_err(|mistake| mistakes.push(mistake)).ok()
}

settings! {
    listen: SocketAddr, "LATCHKEY_LISTEN" = "127.0.0.1:8000", "address and port; port 0 picks a free one and prints it";
    metrics_listen: SocketAddr, "LATCHKEY_METRICS_LISTEN" = "127.0.0.1:9464", "address and port of `/metrics`, away from the public";
    database_url: Secret, "DATABASE_URL" secret, "PostgreSQL, such as `postgres://user:password@host/database`; several hosts are allowed";
    redis_url: Secret, "REDIS_URL" secret, "Redis 7.0 or Valkey 7.2 and later, such as `redis://host` or `rediss://host`";
    secret: Hidden<MasterSecrets>, "LATCHKEY_SECRET" secret, "master secret, at least 32 random bytes in base64 or hexadecimal; the same for all replicas; two with a comma between them while it is exchanged: the first makes, both are accepted";
    issuer: Issuer, "LATCHKEY_ISSUER", "public base address: `iss` of tokens and links in mails; the same for all replicas";
    audience: Option<String>, "LATCHKEY_AUDIENCE", "`aud` of access tokens; the issuer when not set";
    insecure_http: Switch, "LATCHKEY_INSECURE_HTTP" = "no", "`yes` allows an http issuer on an address that is not loopback";
    access_ttl: Duration, "LATCHKEY_ACCESS_TTL" = "15m", "lifetime of an access token, at most 1h";
    refresh_idle_ttl: Duration, "LATCHKEY_REFRESH_IDLE_TTL" = "7d", "a session that is not refreshed for this long ends";
    session_ttl: Duration, "LATCHKEY_SESSION_TTL" = "30d", "absolute end of a session, whatever happens";
    refresh_grace: Duration, "LATCHKEY_REFRESH_GRACE" = "10s", "for so long the parent of an unused refresh token gives the same child again; 0s for never";
    cookie_idle_ttl: Duration, "LATCHKEY_COOKIE_IDLE_TTL" = "10m", "idle timeout of a browser session, sliding, at most 1h";
    cookie_domain: Option<CookieDomain>, "LATCHKEY_COOKIE_DOMAIN", "domain whose hosts share the browser's cookie; when not set, it is of the gateway's own host";
    clock_skew: Duration, "LATCHKEY_CLOCK_SKEW" = "5s", "allowed for `iat` and `nbf`; `exp` has no leeway";
    code_ttl: Duration, "LATCHKEY_CODE_TTL" = "10m", "lifetime of a mailed one-time code, at most 10m";
    smtp_url: MailTransport, "LATCHKEY_SMTP_URL" secret, "`smtp://` (with STARTTLS) or `smtps://`, with user and password as needed, or `off`";
    mail_from: String, "LATCHKEY_MAIL_FROM" = "Latchkey <no-reply@localhost>", "sender of mails";
    signup: Signup, "LATCHKEY_SIGNUP" = "open", "who may create accounts: `open` for anybody, `admin` for administrators and the operator only";
    password_min: usize, "LATCHKEY_PASSWORD_MIN" = "8", "minimum length of a password (15 is advised where there is no second factor)";
    trusted_proxies: Cidrs, "LATCHKEY_TRUSTED_PROXIES" = "none", "networks whose `X-Forwarded-*` is believed, such as `10.0.0.0/8,::1/128`";
    assertions: Switch, "LATCHKEY_ASSERTIONS" = "no", "`yes` has forward-auth say who it is in a signed header as well, `X-Auth-Assertion`, for the host that a trusted proxy names";
    throttle: Switch, "LATCHKEY_THROTTLE" = "on", "`off` lets everybody try as often as they like, for load tests";
    limit_sign_in: Limit, "LATCHKEY_LIMIT_SIGN_IN" = "10/15m", "wrong passwords for one account from one network";
    limit_sign_in_address: Limit, "LATCHKEY_LIMIT_SIGN_IN_ADDRESS" = "100/10m", "wrong passwords and codes from one network, for whatever accounts";
    limit_sign_in_account: Limit, "LATCHKEY_LIMIT_SIGN_IN_ACCOUNT" = "50/1h", "wrong passwords for one account from everywhere; beyond it a try waits 2s, and is never refused";
    limit_sign_up: Limit, "LATCHKEY_LIMIT_SIGN_UP" = "50/1h", "sign-ups from one network";
    limit_forgot: Limit, "LATCHKEY_LIMIT_FORGOT" = "20/1h", "requests for a code from one network";
    limit_mail: Limit, "LATCHKEY_LIMIT_MAIL" = "6/1h", "mails of one kind to one recipient that a stranger can cause; beyond it none is sent, and nobody is told";
    limit_code: Limit, "LATCHKEY_LIMIT_CODE" = "5/1h", "wrong codes for one account from one network";
    limit_code_account: Limit, "LATCHKEY_LIMIT_CODE_ACCOUNT" = "50/1h", "wrong codes for one account from everywhere; beyond it a try waits 2s, and is never refused";
    limit_refresh_failures: Limit, "LATCHKEY_LIMIT_REFRESH_FAILURES" = "100/10m", "refreshes from one network that fail; a good token passes all the same";
    cors_origins: Origins, "LATCHKEY_CORS_ORIGINS" = "none", "exact origins of browser programs elsewhere, such as `https://app.example.com`";
    redis_prefix: String, "LATCHKEY_REDIS_PREFIX" = "lk", "prefix of keys, so that several gateways can share a Redis";
    redis_timeout: Duration, "LATCHKEY_REDIS_TIMEOUT" = "100ms", "for one operation of Redis, connecting included";
    database_timeout: Duration, "LATCHKEY_DATABASE_TIMEOUT" = "2s", "for one story in PostgreSQL, connecting included";
    database_connections: usize, "LATCHKEY_DATABASE_CONNECTIONS" = "16", "most connections to PostgreSQL of a replica; eight of them are for single users and items, and open when they are needed";
    hash_threads: usize, "LATCHKEY_HASH_THREADS" = "cores", "threads that hash passwords, 19 MiB each; never more than cores";
    hash_wait: Duration, "LATCHKEY_HASH_WAIT" = "2s", "a sign-in that would wait longer for a hash thread is answered 503";
    key_rotation: Duration, "LATCHKEY_KEY_ROTATION" = "30d", "how long a signing key signs before the next one takes over, at least 1h; 0s: until `latchkey keys rotate`";
    jwks_max_age: Duration, "LATCHKEY_JWKS_MAX_AGE" = "5m", "how long others may keep `/.well-known/jwks.json`, at most 1h; a key is published for twice as long before it signs";
    lease: Duration, "LATCHKEY_LEASE" = "250ms", "how long a replica answers checks from memory before it must hear from Redis, 20ms to 3s; comes into force for all replicas by `latchkey revocations rebuild`; 0s: this replica asks Redis for each check";
    verified_tokens: usize, "LATCHKEY_VERIFIED_TOKENS" = "50000", "access tokens whose signature a replica remembers, about 2 kB each; 0 checks every signature anew";
    feeds: usize, "LATCHKEY_FEEDS" = "64", "most streams of `GET /revocations` of a replica; beyond them it is 503";
    body_limit: usize, "LATCHKEY_BODY_LIMIT" = "65536", "largest body of a request, in bytes";
    audit_retention: Duration, "LATCHKEY_AUDIT_RETENTION" = "400d", "how long security events are kept: a year, and time to look back at it; whole months are dropped";
    janitor_interval: Duration, "LATCHKEY_JANITOR_INTERVAL" = "10m", "how often what is over is removed from PostgreSQL, by one replica at a time";
    drain_delay: Duration, "LATCHKEY_DRAIN_DELAY" = "2s", "after SIGTERM: not ready, but accepting, so that balancers notice";
    log: LogFilter, "LATCHKEY_LOG" = "info", "what is logged (a `tracing` filter); JSON when stdout is no terminal";
}

#[cfg(test)]
mod tests;
