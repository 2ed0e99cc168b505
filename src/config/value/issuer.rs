//! The issuer URL, the cookie domain, and the base name of cookies.

use std::net::IpAddr;

use latchkey_domain::{cookie_names::CookieBaseName, host};
use url::{Host, Position, Url};

use super::{MAX_ISSUER_OR_AUDIENCE_LENGTH, Value};

/// The public base URL, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The text of the setting. Tokens contain it unchanged, because clients compare it.
    text: String,
    url: Url,
}

impl Issuer {
    /// Returns the URL as it is configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the parsed URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the path without a slash at its end, which precedes each path of the server in
    /// links.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Returns whether browsers reach the server over TLS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns whether the URL is `https://`, or its host is `localhost` or a loopback address.
    pub fn is_https_or_loopback(&self) -> bool {
        self.is_https() || self.is_loopback()
    }

    /// Returns the origin as browsers serialize it (RFC 6454 section 6.2).
    pub fn origin(&self) -> &str {
        &self.url[..Position::BeforePath]
    }

    /// Returns whether the host domain-matches the cookie domain (RFC 6265 section 5.1.3).
    ///
    /// An IP address has no parent domain, although its text can end with the text of a domain.
    pub fn is_within(&self, domain: &CookieDomain) -> bool {
        let Some(Host::Domain(host)) = self.url.host() else {
            return false;
        };
        host.strip_suffix(&domain.0)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Returns whether the host is `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.url.host_str().is_some_and(host::is_this_machine)
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
        if text.len() > MAX_ISSUER_OR_AUDIENCE_LENGTH {
            return Err(format!(
                "must have at most {MAX_ISSUER_OR_AUDIENCE_LENGTH} bytes, because tokens and \
                 cookies contain it"
            ));
        }
        // The parser repairs and escapes, but the text is published unchanged. An issuer has
        // neither query nor fragment (RFC 8414 section 2).
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"?#@\"<>\\".contains(c);
        let is_base_url = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .is_some_and(|rest| !rest.starts_with('/') && rest.chars().all(is_plain));
        if text.split('/').any(is_dot_segment) {
            return Err(
                "must not contain a path segment `.` or `..`, because clients remove it".into(),
            );
        }
        let text = text.trim_end_matches('/');
        Url::parse(text)
            .ok()
            .filter(|_| is_base_url)
            .map(|url| Issuer {
                text: text.to_owned(),
                url,
            })
            .ok_or_else(|| {
                "must be a URL without user information, query, and fragment, for example \
                 `https://auth.example.com`"
                    .into()
            })
    }

    fn missing() -> Result<Self, String> {
        Err("required. Set the public base URL, for example `https://auth.example.com`.".into())
    }
}

/// Returns whether URL parsers remove the path segment (RFC 3986 section 5.2.4).
fn is_dot_segment(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(decoded.as_str(), "." | "..")
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
        // Browsers reject an IP address and a public suffix (RFC 6265 sections 5.1.3 and 5.3). This
        // check finds only suffixes of one label. Lengths: RFC 1035 section 2.3.4, 253 characters
        // as text.
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

impl Value for CookieBaseName {
    fn read(text: &str) -> Result<Self, String> {
        CookieBaseName::parse(text).map_err(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_text_is_unchanged_and_origin_is_normalized() {
        for (text, issuer, origin) in [
            (
                "https://auth.example.com",
                "https://auth.example.com",
                "https://auth.example.com",
            ),
            (
                "https://Auth.Example.com:443/Path/",
                "https://Auth.Example.com:443/Path",
                "https://auth.example.com",
            ),
            (
                "https://b\u{fc}cher.example",
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
            (
                "http://localhost:8000",
                "http://localhost:8000",
                "http://localhost:8000",
            ),
            ("http://[::1]:80/", "http://[::1]:80", "http://[::1]"),
            (
                "https://auth.example.com/.well-known/a..b",
                "https://auth.example.com/.well-known/a..b",
                "https://auth.example.com",
            ),
        ] {
            let read = Issuer::read(text).unwrap();
            assert_eq!((read.as_str(), read.origin()), (issuer, origin));
        }
    }

    #[test]
    fn invalid_base_url_is_rejected() {
        for text in [
            "",
            "auth.example.com",
            "HTTPS://auth.example.com",
            "https:auth.example.com",
            "ftp://auth.example.com",
            "https://",
            "https://:8000",
            "https://auth.example.com:65536",
            "https://[::1",
            "https://a|b.example",
            "https://john@auth.example.com",
            "https://auth.example.com/?a",
            "https://auth.example.com/#a",
            "https://auth.example.com\\path",
            "https://auth.\texample.com",
            "https://auth.example.com/<a>",
            "https:///auth.example.com",
            "http:////localhost:8000",
            "https://auth.example.com/a/../b",
            "https://auth.example.com/a/.",
            "https://auth.example.com/./",
            "https://auth.example.com/%2E%2e/b",
            "https://auth.example.com/.%2e",
        ] {
            assert!(Issuer::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_domain_names_are_within_cookie_domain() {
        let is_within = |issuer, domain| {
            let domain = CookieDomain::read(domain).unwrap();
            Issuer::read(issuer).unwrap().is_within(&domain)
        };
        assert!(is_within("https://auth.example.com", "example.com"));
        assert!(is_within("https://example.com", "example.com"));
        assert!(!is_within("https://auth.example.com", "other.example"));
        assert!(!is_within("http://127.0.0.1:8000", "0.1"));
        assert!(!is_within("http://[::1]:8000", "example.com"));
    }
}
