//! Web origins: scheme, host, and port (RFC 6454 section 6.2).

/// A normalized origin: in lower case, without the default port of its scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Parses `scheme://host:port`. Returns `None` for `null` and for URLs with a path.
    pub fn parse(text: &str) -> Option<WebOrigin> {
        WebOriginRef::parse(text).map(WebOriginRef::to_web_origin)
    }

    /// Returns the port, if it isn't the default port of the scheme.
    pub fn explicit_port(&self) -> Option<&str> {
        let (_, authority) = self.0.split_once("://")?;
        let (_, port) = split_authority(authority)?;
        port
    }

    /// Returns the value as a browser sends it in the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An origin in a text that isn't normalized. Origins are equal if they are equal when normalized.
///
/// Only [`WebOriginRef::to_web_origin`] allocates memory.
#[derive(Debug, Clone, Copy)]
pub struct WebOriginRef<'a> {
    scheme: &'static str,
    host: &'a str,
    port: u16,
}

impl<'a> WebOriginRef<'a> {
    /// Parses `scheme://host:port`. Returns `None` for `null` and for URLs with a path.
    pub fn parse(text: &'a str) -> Option<WebOriginRef<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        WebOriginRef::new(scheme, authority)
    }

    /// Creates an origin from a scheme (`http` or `https`) and a host with an optional port.
    pub fn new(scheme: &str, authority: &'a str) -> Option<WebOriginRef<'a>> {
        let scheme = ["https", "http"]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known))?;
        let (host, port) = split_authority(authority)?;
        Some(WebOriginRef {
            scheme,
            host,
            port: port.map_or(Some(default_port(scheme)), parse_port)?,
        })
    }

    /// Returns the normalized origin.
    pub fn to_web_origin(self) -> WebOrigin {
        let WebOriginRef { scheme, host, port } = self;
        let mut origin = if port == default_port(scheme) {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{port}")
        };
        origin.make_ascii_lowercase();
        WebOrigin(origin)
    }
}

impl PartialEq for WebOriginRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.scheme, self.port) == (other.scheme, other.port)
            && self.host.eq_ignore_ascii_case(other.host)
    }
}

impl Eq for WebOriginRef<'_> {}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Splits an authority into host and port (RFC 3986 section 3.2). User information is rejected.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    let port = if rest.is_empty() {
        None
    } else {
        Some(rest.strip_prefix(':')?)
    };
    is_host(host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// Parses a port. A sign, which integers can have, is rejected.
fn parse_port(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalize(text: &str) -> Option<String> {
        WebOrigin::parse(text).map(|origin| origin.as_str().to_owned())
    }

    #[test]
    fn origin_is_normalized() {
        for (text, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://APP.Example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            (
                "https://app.example.com:8443",
                "https://app.example.com:8443",
            ),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ] {
            assert_eq!(normalize(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn origins_are_compared_as_normalized() {
        let equal = |left, right| {
            let (left, right) = (WebOriginRef::parse(left), WebOriginRef::parse(right));
            assert_eq!(
                left == right,
                left.map(WebOriginRef::to_web_origin) == right.map(WebOriginRef::to_web_origin)
            );
            left == right
        };
        let app = "https://app.example.com";
        assert!(equal(app, "HTTPS://APP.example.com:443"));
        assert!(equal("http://[::A]", "HTTP://[::a]:80"));
        for other in [
            "http://app.example.com",
            "http://app.example.com:443",
            "https://app.example.com:80",
            "https://app.example.com.",
            "https://app.example.co",
            "https://",
        ] {
            assert!(!equal(app, other), "{other}");
        }
    }

    #[test]
    fn default_port_is_not_explicit() {
        for (text, port) in [
            ("https://app.example.com:443", None),
            ("https://app.example.com:8443", Some("8443")),
            ("http://[::1]:8080", Some("8080")),
            ("http://[::1]", None),
        ] {
            let origin = WebOrigin::parse(text).unwrap();
            assert_eq!(origin.explicit_port(), port, "{text}");
        }
    }

    #[test]
    fn invalid_origin_is_rejected() {
        for text in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "https://app.example.com:",
            "https://app.example.com:+443",
            "https://app.example.com:65536",
            "https://app.example.com, https://evil.example",
            "https://app example.com",
            "https://app.example.com\\@evil.example",
            "ftp://app.example.com",
            "wss://app.example.com",
            "https://[::1",
            "https://[evil]",
            "https://[::1]evil",
            "https://*",
        ] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }
}
