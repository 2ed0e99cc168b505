//! The issuer URL and the cookie domain.

use std::net::IpAddr;

use latchkey_domain::host;

use super::{LONGEST_IN_TOKENS, Value};

/// The public base URL, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `https://` or a loopback address.
    pub fn is_safe(&self) -> bool {
        self.0.starts_with("https://") || self.is_loopback()
    }

    /// Its origin as browsers serialize it (RFC 6454 section 6.1): in lower case, without the
    /// default port.
    pub fn origin(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let usual = if scheme == "https" { ":443" } else { ":80" };
        format!(
            "{scheme}://{}",
            authority.strip_suffix(usual).unwrap_or(&authority)
        )
    }

    /// The host name or IP address.
    fn host(&self) -> &str {
        let authority = self
            .0
            .split_once("://")
            .map_or("", |(_, rest)| rest)
            .split('/')
            .next()
            .unwrap_or_default();
        authority
            .strip_prefix('[')
            .and_then(|v6| v6.split(']').next())
            .unwrap_or_else(|| authority.split(':').next().unwrap_or_default())
    }

    /// Whether the host domain-matches (RFC 6265 section 5.1.3).
    pub fn is_within(&self, domain: &CookieDomain) -> bool {
        let host = self.host().to_ascii_lowercase();
        host.strip_suffix(&domain.0)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether the host is a loopback address.
    pub fn is_loopback(&self) -> bool {
        host::is_this_machine(self.host())
    }
}

/// The domain whose hosts share the session cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieDomain(String);

impl CookieDomain {
    /// The domain in lower case, without a leading dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Issuer {
    fn read(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let bare = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.contains(['?', '#', '@', ' ', '"', '<', '>'])
        });
        let issuer = Issuer(text.trim_end_matches('/').to_owned());
        if text.len() > LONGEST_IN_TOKENS {
            Err(format!(
                "must have at most {LONGEST_IN_TOKENS} characters, because tokens and cookies \
                 contain it"
            ))
        } else if bare {
            Ok(issuer)
        } else {
            Err("must be a URL, for example `https://auth.example.com`".into())
        }
    }

    fn missing() -> Result<Self, String> {
        Err("required. Set the public base URL, for example `https://auth.example.com`.".into())
    }
}

impl Value for CookieDomain {
    fn read(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // Browsers accept neither an IP address nor a top-level domain.
        let is_domain = text.len() <= 253
            && text.contains('.')
            && text.split('.').all(label)
            && text.parse::<IpAddr>().is_err();
        let domain = CookieDomain(text.to_ascii_lowercase());
        if is_domain {
            Ok(domain)
        } else {
            Err("must be a domain, for example `example.com`".into())
        }
    }
}
