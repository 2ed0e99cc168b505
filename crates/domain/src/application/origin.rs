//! The origins of applications.

use std::fmt;

use url::{Host, Url};

use crate::{
    application_token::APPLICATION_PATH,
    text::{self, ParsedText, Rejection, TextRules},
    web_origin::WebOrigin,
};

/// The maximum length of an origin, in bytes. An application cookie, which contains the origin, must
/// stay below 4,096 bytes.
const MAX_ORIGIN_LENGTH: usize = 255;

/// The rules of [`ApplicationOrigin::parse`], for the OpenAPI document.
const PATTERN: &str = r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\ ]+$";

/// The origin of an application: `https://app.example.com`, or `https://*.example.net` for every
/// host with one more label. A port other than the default port is explicit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationOrigin {
    /// The normalized text.
    text: String,
    /// `None` for a wildcard.
    exact: Option<WebOrigin>,
}

/// Why an application can't have an origin on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginConflict {
    /// The host is that of the issuer, so the application would receive the session cookie.
    IssuerHost,
    /// The origin is the audience of access tokens.
    Audience,
}

impl OriginConflict {
    /// Returns the reason, which follows the name of a field or setting.
    pub const fn reason(self) -> &'static str {
        match self {
            OriginConflict::IssuerHost => {
                "must not be on the host of LATCHKEY_ISSUER, because the application would receive \
                 the session cookie"
            }
            OriginConflict::Audience => {
                "must differ from LATCHKEY_AUDIENCE, because a service of the API has this audience"
            }
        }
    }
}

impl ApplicationOrigin {
    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the origin, if it isn't a wildcard.
    pub fn exact(&self) -> Option<&WebOrigin> {
        self.exact.as_ref()
    }

    /// Returns the first conflict with the settings of the server.
    pub fn conflict(&self, issuer: &Url, audience: &str) -> Option<OriginConflict> {
        let host = issuer.host_str().unwrap_or_default();
        let is_issuer_host = match self.text.split_once("://*.") {
            None => self.host() == host,
            Some(_) => host
                .split_once('.')
                .is_some_and(|(_, parent)| parent == self.host()),
        };
        let is_audience = self.text.trim_end_matches('/') == audience.trim_end_matches('/');
        if is_issuer_host {
            Some(OriginConflict::IssuerHost)
        } else {
            is_audience.then_some(OriginConflict::Audience)
        }
    }

    /// Returns the host without port; for a wildcard, the host above it.
    fn host(&self) -> &str {
        let (_, authority) = self.text.split_once("://").unwrap_or_default();
        let authority = authority.strip_prefix("*.").unwrap_or(authority);
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _no_port => authority,
        }
    }
}

impl fmt::Display for ApplicationOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ParsedText for ApplicationOrigin {
    const RULES: TextRules = TextRules {
        format: None,
        min: 8,
        max: MAX_ORIGIN_LENGTH,
        pattern: Some(PATTERN),
        example: "https://app.example.com",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        let invalid = || {
            Rejection::from(
                "must be an origin such as `https://app.example.com` or `https://*.example.net`, \
                 without a path",
            )
        };
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let (is_wildcard, authority) = match authority.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, authority),
        };
        if authority
            .contains(|c: char| "/?#@\\*".contains(c) || c.is_whitespace() || c.is_control())
        {
            return Err(invalid());
        }
        let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| invalid())?;
        let host = url.host().ok_or_else(invalid)?;
        if url.host_str().is_some_and(|host| host.ends_with('.')) {
            return Err("must have a host without a trailing dot".into());
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => {
                return Err(
                    "must use https, because browsers send no secure cookie over http; only \
                     localhost and loopback IP addresses can use http"
                        .into(),
                );
            }
            _other => return Err(invalid()),
        }
        let origin = url.origin().ascii_serialization();
        if !is_wildcard {
            let exact = WebOrigin::parse(&origin).ok_or_else(invalid)?;
            return check_length(ApplicationOrigin {
                text: exact.as_str().to_owned(),
                exact: Some(exact),
            });
        }
        let Host::Domain(domain) = host else {
            return Err("must have a domain after `*.`, not an IP address".into());
        };
        let is_public_suffix = psl::suffix_str(domain) == Some(domain);
        if is_public_suffix && domain != "localhost" {
            return Err(
                "must not have a public suffix after `*.`, because its hosts belong to others"
                    .into(),
            );
        }
        check_length(ApplicationOrigin {
            text: origin.replacen("://", "://*.", 1),
            exact: None,
        })
    }
}

fn check_length(origin: ApplicationOrigin) -> Result<ApplicationOrigin, Rejection> {
    if origin.text.len() <= MAX_ORIGIN_LENGTH {
        Ok(origin)
    } else {
        Err(format!("must have at most {MAX_ORIGIN_LENGTH} bytes after normalization").into())
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => *domain == "localhost" || domain.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether an audience is like those of application tokens. An OAuth client must not have it: its
/// tokens would look like application tokens to a service that ignores their type.
pub fn is_reserved_audience(audience: &str) -> bool {
    audience.contains(APPLICATION_PATH.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origin_is_normalized() {
        for (text, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            (
                "https://app.example.com:8443",
                "https://app.example.com:8443",
            ),
            ("https://*.example.net", "https://*.example.net"),
            ("https://*.Example.net:8443", "https://*.example.net:8443"),
            (
                "https://*.apps.example.co.uk",
                "https://*.apps.example.co.uk",
            ),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://app.localhost", "http://app.localhost"),
            ("http://*.localhost:8000", "http://*.localhost:8000"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("https://192.0.2.1", "https://192.0.2.1"),
        ] {
            let origin = ApplicationOrigin::parse(text);
            assert_eq!(origin.unwrap().as_str(), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        let long = format!("https://{}.example", "a.".repeat(130));
        for text in [
            "",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?role=admin",
            "https://app.example.com#a",
            "https://john@app.example.com",
            "https://app.example.com.",
            "https://*.example.com.",
            "https://app.example.com:0x1",
            "https://app example.com",
            "https://app.example.com\n",
            "https://*",
            "https://*.",
            "https://*.com",
            "https://*.co.uk",
            "https://*.github.io",
            "https://*.192.0.2.1",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://app*.example.com",
            "http://app.example.com",
            "http://localhost.example.com",
            "http://192.0.2.1",
            "ftp://app.example.com",
            "javascript://app.example.com",
            "null",
            &long,
        ] {
            assert!(ApplicationOrigin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn issuer_and_audience_conflict() {
        let issuer = Url::parse("https://auth.example.com").unwrap();
        let conflict = |text: &str| {
            let origin = ApplicationOrigin::parse(text).unwrap();
            origin.conflict(&issuer, "https://api.example.com")
        };
        let host = Some(OriginConflict::IssuerHost);
        assert_eq!(conflict("https://auth.example.com"), host);
        assert_eq!(conflict("https://auth.example.com:8443"), host);
        assert_eq!(conflict("https://*.example.com"), host);
        assert_eq!(conflict("https://*.example.com:8443"), host);
        let audience = Some(OriginConflict::Audience);
        assert_eq!(conflict("https://api.example.com"), audience);
        assert_eq!(conflict("https://api.example.com:8443"), None);
        assert_eq!(conflict("https://*.auth.example.com"), None);
        assert_eq!(conflict("https://app.example.com"), None);
    }

    #[test]
    fn audience_of_applications_is_reserved() {
        assert!(is_reserved_audience("https://app.example.com/.latchkey/"));
        assert!(is_reserved_audience("https://app.example.com/.latchkey"));
        assert!(!is_reserved_audience("https://app.example.com/"));
    }

    proptest! {
        /// A normalized origin is normalized already.
        #[test]
        fn normalized_text_stays_the_same(text in "https://(\\*\\.)?[a-z]{1,8}\\.[a-z]{1,8}\\.example(:[0-9]{2,4})?") {
            if let Ok(origin) = ApplicationOrigin::parse(&text) {
                prop_assert_eq!(ApplicationOrigin::parse(origin.as_str()), Ok(origin));
            }
        }
    }
}
