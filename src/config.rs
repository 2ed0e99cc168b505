//! Settings: the only reader of the environment.
//!
//! One declaration, in `declaration.rs`, generates the struct, the flags with their `--help`, the
//! table in `docs/reference/settings.md`, `.env.example`, `latchkey help settings`, and
//! `latchkey config`. A secret has no flag, because process arguments are visible. Only secrets
//! have a `…_FILE` form.

mod declaration;
mod description;
mod partial;
mod range;
mod source;
mod unknown;
mod value;

use std::{fmt, sync::Arc, time::Duration};

use latchkey_domain::password::{MIN_ALLOWED_MINIMUM, PasswordPolicy};

use declaration::Draft;
pub use declaration::{Config, SETTINGS};
pub use description::{
    arguments, effective, effective_values, env_example, reference_table, secrets_help,
    settings_help,
};
pub use partial::{DatabaseConfig, ListenConfig};
use range::Range;
pub use source::Source;
use value::MAX_ISSUER_OR_AUDIENCE_LENGTH;
pub use value::{
    Cidrs, ContactUri, CookieDomain, InitialApplications, Issuer, LogFilter, MailTransport, OnOff,
    Origins, Signup, StoreUrl, Toggle,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const NO_MAXIMUM: Duration = Duration::MAX;

/// The group of the settings that have no default and must be set.
const REQUIRED_GROUP: &str = "Required";

/// The declaration of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// The group under which it is listed.
    pub group: &'static str,
    /// Whether it is a secret: no flag, a `…_FILE` form, masked in every output.
    pub secret: bool,
    /// The default value.
    pub default: Option<&'static str>,
    /// The description for help, the reference page, and `.env.example`.
    pub help: &'static str,
}

impl Setting {
    /// Returns whether the server can't start without a value.
    pub fn is_required(&self) -> bool {
        self.group == REQUIRED_GROUP
    }
}

/// A configuration error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The environment variable.
    pub variable: &'static str,
    /// The error and its fix, which follow the variable's name. Never contains the value.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl Config {
    /// Returns the policy for new passwords.
    pub fn password_policy(&self) -> Arc<PasswordPolicy> {
        Arc::new(PasswordPolicy::new(
            self.password_min,
            self.password_list.clone(),
        ))
    }

    /// Reads and validates all settings.
    ///
    /// # Errors
    /// All configuration errors, not only the first.
    pub fn load(source: &Source) -> Result<Config, Vec<ConfigError>> {
        let (draft, errors) = Draft::load(source);
        match draft.effective_config() {
            Some(config) if errors.is_empty() => Ok(config),
            _invalid => Err(errors),
        }
    }

    /// Returns the `aud` claim of access tokens: the setting, or the issuer if it is unset.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(self.issuer.as_str())
    }
}

impl Draft {
    /// Reads all settings. Returns the valid ones, and all errors.
    fn load(source: &Source) -> (Draft, Vec<ConfigError>) {
        let mut errors: Vec<ConfigError> = source
            .env_file_error
            .iter()
            .cloned()
            .chain(source.unknown_settings())
            .collect();
        let mut draft = Draft::read(source, &mut errors);
        for (url, variable) in [
            (&mut draft.database_url, "DATABASE_URL"),
            (&mut draft.redis_url, "REDIS_URL"),
        ] {
            if let Some(url) = url {
                url.set_file(source.secret_file(variable));
            }
        }
        errors.extend(draft.conflicts());
        (draft, errors)
    }

    /// Returns the errors of values that are out of range or conflict with each other.
    fn conflicts(&self) -> Vec<ConfigError> {
        let error = |variable, reason: String| ConfigError { variable, reason };
        let ranges = self.ranges().into_iter();
        let ranges = ranges.filter_map(|range| Some(error(range.variable, range.reason()?)));
        let issuer = self.issuer.as_ref();
        let unsafe_issuer = issuer.is_some_and(|issuer| !issuer.is_https_or_loopback());
        let long_audience = self
            .audience
            .iter()
            .flatten()
            .any(|audience| audience.len() > MAX_ISSUER_OR_AUDIENCE_LENGTH);
        let issuer_and_domain = issuer.zip(self.cookie_domain.as_ref().and_then(Option::as_ref));
        let rules = [
            (
                long_audience,
                "LATCHKEY_AUDIENCE",
                "must have at most 255 bytes, because tokens and cookies contain it",
            ),
            (
                issuer_and_domain.is_some_and(|(issuer, domain)| !issuer.is_within(domain)),
                "LATCHKEY_COOKIE_DOMAIN",
                "must be the host of LATCHKEY_ISSUER or a parent domain of it, otherwise browsers \
                 reject the cookie",
            ),
            (
                unsafe_issuer && self.insecure_http.is_some_and(|allowed| !allowed.0),
                "LATCHKEY_ISSUER",
                "must be an `https://` URL (the proxy terminates TLS). To run without TLS, set \
                 LATCHKEY_INSECURE_HTTP=yes.",
            ),
            (
                self.session_idle_timeout
                    .zip(self.session_max_lifetime)
                    .is_some_and(|(idle, maximum)| idle > maximum),
                "LATCHKEY_SESSION_IDLE_TIMEOUT",
                "must be at most LATCHKEY_SESSION_MAX_LIFETIME",
            ),
            (
                self.writes_email_of_remote_users(),
                "LATCHKEY_SMTP_URL",
                "must be an SMTP server or `off`. `file:` requires a loopback LATCHKEY_ISSUER, \
                 because it is for development only.",
            ),
            (
                self.verifies_sign_ups_without_email(),
                "LATCHKEY_SIGNUP",
                "can be `verify` only with a mail server in LATCHKEY_SMTP_URL, because it sends codes",
            ),
        ];
        let application_error = self
            .application_conflict()
            .map(|reason| error("LATCHKEY_APPLICATIONS", reason));
        let violations = rules.into_iter().filter(|(is_violated, _, _)| *is_violated);
        ranges
            .chain(violations.map(|(_, variable, reason)| error(variable, reason.to_owned())))
            .chain(application_error)
            .collect()
    }

    fn ranges(&self) -> Vec<Range> {
        [
            self.time_ranges(),
            self.cookie_ranges(),
            self.store_ranges(),
            self.count_ranges(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns why an application can't be protected with the other settings.
    fn application_conflict(&self) -> Option<String> {
        let (issuer, proxies) = (self.issuer.as_ref()?, self.trusted_proxies.as_ref()?);
        let InitialApplications(applications) = self.applications.as_ref()?;
        if !applications.is_empty() && proxies.0.is_empty() {
            return Some("requires the IP address of the proxy in LATCHKEY_TRUSTED_PROXIES".into());
        }
        let audience = self.audience.as_ref().and_then(Option::as_deref);
        let audience = audience.unwrap_or(issuer.as_str());
        let mut entries = applications.iter().enumerate();
        entries.find_map(|(index, entry)| {
            let conflict = entry.origin.conflict(issuer.url(), audience)?;
            Some(format!("entry {} {}", index + 1, conflict.reason()))
        })
    }

    fn writes_email_of_remote_users(&self) -> bool {
        matches!(self.smtp_url, Some(MailTransport::File(_)))
            && self
                .issuer
                .as_ref()
                .is_some_and(|issuer| !issuer.is_loopback())
    }

    fn verifies_sign_ups_without_email(&self) -> bool {
        self.signup == Some(Signup::Verify) && matches!(self.smtp_url, Some(MailTransport::Off))
    }

    fn time_ranges(&self) -> Vec<Range> {
        let time = Range::of_time;
        vec![
            time(
                "LATCHKEY_ACCESS_LIFETIME",
                self.access_lifetime,
                SECOND,
                HOUR,
            ),
            time(
                "LATCHKEY_SESSION_IDLE_TIMEOUT",
                self.session_idle_timeout,
                SECOND,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_REFRESH_REUSE_INTERVAL",
                self.refresh_reuse_interval,
                Duration::ZERO,
                SECOND * 60,
            ),
            // 0 disables leases. A shorter lease can't be renewed in time, and sign-out waits for a
            // lease to expire.
            time(
                "LATCHKEY_LEASE",
                self.lease.filter(|lease| !lease.is_zero()),
                Duration::from_millis(20),
                3 * SECOND,
            ),
            time(
                "LATCHKEY_KEY_ROTATION",
                self.key_rotation.filter(|time| !time.is_zero()),
                HOUR,
                NO_MAXIMUM,
            ),
            // An entry of the revocation log outlives a token by five minutes, which the clocks of
            // two replicas and a store must not exceed.
            time(
                "LATCHKEY_CLOCK_SKEW",
                self.clock_skew,
                Duration::ZERO,
                SECOND * 60,
            ),
            time("LATCHKEY_JWKS_MAX_AGE", self.jwks_max_age, SECOND, HOUR),
            time(
                "LATCHKEY_CODE_LIFETIME",
                self.code_lifetime,
                SECOND,
                SECOND * 600,
            ),
            // The cleanup worker keeps the row of an invitation for a day longer than the maximum.
            time(
                "LATCHKEY_INVITATION_LIFETIME",
                self.invitation_lifetime,
                HOUR,
                HOUR * 168,
            ),
        ]
    }

    /// Ranges of the idle timeouts of cookies. A revocation entry outlives every token of an hour.
    fn cookie_ranges(&self) -> Vec<Range> {
        [
            ("LATCHKEY_COOKIE_IDLE_TIMEOUT", self.cookie_idle_timeout),
            (
                "LATCHKEY_APPLICATION_IDLE_TIMEOUT",
                self.application_idle_timeout,
            ),
        ]
        .map(|(variable, timeout)| Range::of_time(variable, timeout, SECOND, HOUR))
        .into()
    }

    /// Ranges of retention times and of store timeouts.
    fn store_ranges(&self) -> Vec<Range> {
        let time = Range::of_time;
        vec![
            time(
                "LATCHKEY_AUDIT_RETENTION",
                self.audit_retention,
                HOUR * 24,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_NAME_RESERVATION",
                self.name_reservation,
                // Longer than any access token (1 h), with a margin for clocks.
                HOUR + SECOND * 600,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_CLEANUP_INTERVAL",
                self.cleanup_interval,
                SECOND,
                HOUR * 24,
            ),
            time(
                "LATCHKEY_REDIS_TIMEOUT",
                self.redis_timeout,
                SECOND / 1000,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_REDIS_CONNECT_TIMEOUT",
                self.redis_connect_timeout,
                SECOND / 1000,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_DATABASE_TIMEOUT",
                self.database_timeout,
                SECOND / 1000,
                NO_MAXIMUM,
            ),
            time(
                "LATCHKEY_DATABASE_CONNECT_TIMEOUT",
                self.database_connect_timeout,
                SECOND / 1000,
                NO_MAXIMUM,
            ),
        ]
    }

    fn count_ranges(&self) -> Vec<Range> {
        let count = Range::of_count;
        vec![
            count(
                "LATCHKEY_PASSWORD_MIN",
                self.password_min,
                MIN_ALLOWED_MINIMUM as u128,
                128,
            ),
            count("LATCHKEY_HASH_THREADS", self.hash_threads, 1, u128::MAX),
            count(
                "LATCHKEY_TOKEN_CACHE_SIZE",
                self.token_cache_size,
                0,
                10_000_000,
            ),
            count(
                "LATCHKEY_REVOCATION_STREAMS",
                self.revocation_streams,
                0,
                10_000,
            ),
            // Eight are for batched lookups. Of the other two, one can be used while a transaction
            // holds the other.
            count(
                "LATCHKEY_DATABASE_CONNECTIONS",
                self.database_connections,
                10,
                u128::MAX,
            ),
        ]
    }
}

#[cfg(test)]
mod tests;
