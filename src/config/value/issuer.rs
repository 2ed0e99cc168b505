//! The issuer URL and the cookie domain.

use std::net::IpAddr;

use latchkey_domain::host;

use super::{MAX_ISSUER_OR_AUDIENCE_LENGTH, Value};

/// The public base URL, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the URL is `https://` or its host is a loopback address.
    pub fn is_safe(&self) -> bool {
        self.0.starts_with("https://") || self.is_loopback()
    }

    /// Returns the origin as browsers serialize it (RFC 6454 section 6.1): in lower case, without
    /// the default port.
    pub fn origin(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        format!(
            "{scheme}://{}",
            authority.strip_suffix(default_port).unwrap_or(&authority)
        )
    }

    /// Returns the host name or IP address.
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

    /// Returns whether the host domain-matches the cookie domain (RFC 6265 section 5.1.3).
    pub fn is_within(&self, domain: &CookieDomain) -> bool {
        let host = self.host().to_ascii_lowercase();
        host.strip_suffix(&domain.0)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Returns whether the host is a loopback address.
    pub fn is_loopback(&self) -> bool {
        host::is_this_machine(self.host())
    }
}

/// The domain whose hosts share the session cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieDomain(String);

impl CookieDomain {
    /// Returns the domain in lower case, without a leading dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Issuer {
    fn read(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let is_base_url = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.contains(['?', '#', '@', ' ', '"', '<', '>'])
        });
        let issuer = Issuer(text.trim_end_matches('/').to_owned());
        if text.len() > MAX_ISSUER_OR_AUDIENCE_LENGTH {
            Err(format!(
                "must have at most {MAX_ISSUER_OR_AUDIENCE_LENGTH} characters, because tokens and \
                 cookies contain it"
            ))
        } else if is_base_url {
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
        let is_label = |label: &str| {
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
            && text.split('.').all(is_label)
            && text.parse::<IpAddr>().is_err();
        let domain = CookieDomain(text.to_ascii_lowercase());
        if is_domain {
            Ok(domain)
        } else {
            Err("must be a domain, for example `example.com`".into())
        }
    }
}
