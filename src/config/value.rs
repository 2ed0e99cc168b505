//! Parses the values of settings.

mod applications;
mod contact_uri;
mod issuer;
mod pages;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use applications::InitialApplications;
pub use contact_uri::ContactUri;
use ipnet::IpNet;
pub use issuer::{CookieDomain, Issuer};
use latchkey_domain::{
    account::{ReservedUsernames, Username},
    master_secret::MasterSecrets,
    password::{Argon2Implementation, PasswordList},
    rate_limit::RateLimit,
    text::ParsedText,
};
pub use pages::{Brand, Theme};
use secrecy::SecretString;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::Url;

/// The error of a required setting without a more specific one.
pub const REQUIRED: &str = "required";

/// Maximum length of the issuer and of the audience, in bytes. A cookie must stay below 4,096 bytes
/// for all lengths of the user's names.
pub const MAX_ISSUER_OR_AUDIENCE_LENGTH: usize = 255;

/// A value that is parsed from the text of a setting. Errors never contain the text.
pub trait Value: Sized {
    /// Parses the value.
    ///
    /// # Errors
    /// The error text, which follows the variable's name.
    fn read(text: &str) -> Result<Self, String>;

    /// Returns the value of a setting that has neither a value nor a default.
    ///
    /// # Errors
    /// The error text of a required setting.
    fn missing() -> Result<Self, String> {
        Err(REQUIRED.into())
    }
}

/// `yes` or `no`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toggle(pub bool);

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnOff(pub bool);

/// The setting of user registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Signup {
    /// Self-registration is allowed.
    Open,
    /// Self-registration requires a code that is sent to the email address.
    Verify,
    /// Only administrators and the operator can create users.
    Admin,
}

/// The log filter, which is validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Returns the filter's directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URL of a store, which can contain a password.
pub struct StoreUrl {
    url: SecretString,
    /// The file that contains it, unless a variable does.
    file: Option<PathBuf>,
}

impl StoreUrl {
    /// Returns the URL.
    pub fn url(&self) -> &SecretString {
        &self.url
    }

    /// Stores the file from which the URL was read.
    pub(super) fn set_file(&mut self, file: Option<PathBuf>) {
        self.file = file;
    }

    /// Returns a function that reads the file again. It returns `None` if there is no file, or the
    /// file can't be read.
    pub fn reader(&self) -> Box<dyn Fn() -> Option<SecretString> + Send + Sync> {
        let file = self.file.clone();
        Box::new(move || {
            let text = std::fs::read_to_string(file.as_ref()?).ok()?;
            Some(text.trim_end().into())
        })
    }
}

impl Value for StoreUrl {
    fn read(text: &str) -> Result<Self, String> {
        Ok(StoreUrl {
            url: text.into(),
            file: None,
        })
    }
}

/// Networks of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cidrs(pub Vec<IpNet>);

/// Exact origins of browser applications, as browsers serialize them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<String>);

/// The transport of email.
pub enum MailTransport {
    /// Email is disabled. Only the operator can create codes.
    Off,
    /// An SMTP server. The URL can contain a password.
    Smtp(SecretString),
    /// A folder with one `.eml` file per email, for development.
    File(PathBuf),
}

impl Value for SecretString {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Value for MasterSecrets {
    fn read(text: &str) -> Result<Self, String> {
        MasterSecrets::parse(text).map_err(str::to_owned)
    }

    fn missing() -> Result<Self, String> {
        Err(
            "required. Generate it with `openssl rand -base64 32` and use it for all replicas."
                .into(),
        )
    }
}

impl Value for MailTransport {
    fn read(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "off" => Ok(MailTransport::Off),
            Some(("smtp" | "smtps", _)) => Ok(MailTransport::Smtp(text.into())),
            Some(("file", path)) => parse_folder(text, path).map(MailTransport::File),
            _other => Err("must start with `smtp://`, `smtps://`, or `file:/`, or be `off`".into()),
        }
    }

    fn missing() -> Result<Self, String> {
        Err(
            "required. Set an SMTP server, or `off`: then users can't reset their password by \
             email."
                .into(),
        )
    }
}

/// Returns the folder of a `file:` URL. The URL parser alone would accept a relative path as an
/// absolute one.
fn parse_folder(url: &str, path: &str) -> Result<PathBuf, String> {
    let is_plain = |url: &Url| !url.has_host() && url.query().is_none() && url.fragment().is_none();
    Url::parse(url)
        .ok()
        .filter(|url| path.starts_with('/') && is_plain(url))
        .and_then(|url| url.to_file_path().ok())
        .ok_or_else(|| {
            "must be a `file:` URL with an absolute path, for example `file:/srv/email`".into()
        })
}

impl Value for LogFilter {
    fn read(text: &str) -> Result<Self, String> {
        // The parser takes an unknown level for the name of a target, and then logs nothing.
        let is_level = |part: &str| part.parse::<LevelFilter>().is_ok();
        let is_known = text
            .split(',')
            .all(|part| part.contains(['=', '[']) || is_level(part.trim()));
        let is_filter = is_known && EnvFilter::try_new(text).is_ok();
        is_filter.then(|| LogFilter(text.to_owned())).ok_or_else(|| {
            "must be a level (`error`, `warn`, `info`, `debug`, `trace`, or `off`), or a filter \
             such as `warn,audit=info`"
                .into()
        })
    }
}

impl Value for Cidrs {
    fn read(text: &str) -> Result<Self, String> {
        let parsed = split_list(text).map(|part| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
        });
        parsed
            .collect::<Result<_, std::net::AddrParseError>>()
            .map(Cidrs)
            .map_err(|_| {
                "must be comma-separated IP addresses or CIDR ranges, for example `10.0.0.5`".into()
            })
    }
}

impl Value for Origins {
    fn read(text: &str) -> Result<Self, String> {
        let origins: Option<_> = split_list(text).map(parse_origin).collect();
        origins.map(Origins).ok_or_else(|| {
            "must be comma-separated origins, for example `https://app.example.com`".into()
        })
    }
}

/// Returns the origin as browsers serialize it; `None` if the URL contains more than an origin.
fn parse_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.as_str() == format!("{origin}/")
        && !origin.contains('*');
    is_origin.then_some(origin)
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let text = if text == "none" { "" } else { text };
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        let with_host = text
            .strip_prefix(':')
            .map(|port| format!("127.0.0.1:{port}"));
        with_host
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| "must be an IP address and a port, for example `127.0.0.1:8000`".into())
    }
}

impl Value for Toggle {
    fn read(text: &str) -> Result<Self, String> {
        parse_boolean(text)
            .map(Toggle)
            .ok_or_else(|| "must be `yes` or `no`".into())
    }
}

impl Value for OnOff {
    fn read(text: &str) -> Result<Self, String> {
        parse_boolean(text)
            .map(OnOff)
            .ok_or_else(|| "must be `on` or `off`".into())
    }
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _other => None,
    }
}

impl Value for Signup {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "must be `open`, `verify`, or `admin`".into())
    }
}

impl Value for ReservedUsernames {
    fn read(text: &str) -> Result<Self, String> {
        let usernames: Result<Vec<_>, _> = split_list(text).map(Username::parse).collect();
        usernames
            .map(|usernames| ReservedUsernames::with_additional(&usernames))
            .map_err(|reason| {
                format!(
                    "must be comma-separated usernames, for example `acme,press`; each {reason}"
                )
            })
    }
}

impl Value for PasswordList {
    fn read(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(PasswordList::default());
        }
        std::fs::read_to_string(text)
            .map(|passwords| PasswordList::from_lines(&passwords))
            .map_err(|error| {
                format!("must be the path of a readable UTF-8 file, or `none` ({error})")
            })
    }
}

impl Value for Argon2Implementation {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "must be `rustcrypto` or `argon2-rust`".into())
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: Option<u64> = digits.parse().ok();
        let milliseconds = match &text[digits.len()..] {
            "ms" => number,
            "s" => number.and_then(|n| n.checked_mul(1000)),
            "m" => number.and_then(|n| n.checked_mul(60_000)),
            "h" => number.and_then(|n| n.checked_mul(3_600_000)),
            "d" => number.and_then(|n| n.checked_mul(86_400_000)),
            _other => None,
        };
        let bounded = milliseconds.filter(|ms| *ms <= 3650 * 86_400_000);
        bounded.map(Duration::from_millis).ok_or_else(|| {
            "must be a duration, for example `500ms`, `10s`, `15m`, `12h`, or `7d`".into()
        })
    }
}

impl Value for RateLimit {
    fn read(text: &str) -> Result<Self, String> {
        let read = text.split_once('/').and_then(|(count, period)| {
            let (count, period) = (
                count.trim().parse().ok()?,
                Duration::read(period.trim()).ok()?,
            );
            RateLimit::new(count, period)
        });
        read.ok_or_else(|| {
            "must be a number and a period from `1s` to `1d`, for example `5/1m` for five per \
             minute"
                .into()
        })
    }
}

impl Value for usize {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "cores" => Ok(std::thread::available_parallelism().map_or(2, usize::from)),
            number => number.parse().map_err(|_| "must be a whole number".into()),
        }
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl<T: Value> Value for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        T::read(text).map(Some)
    }

    fn missing() -> Result<Self, String> {
        Ok(None)
    }
}
