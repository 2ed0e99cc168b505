//! Web origins: scheme, host, and port (RFC 6454 section 6.2).

/// A normalized origin: in lower case, without the default port of its scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Parses `scheme://host:port`. Returns `None` for `null` and for URLs with a path.
    pub fn parse(text: &str) -> Option<WebOrigin> {
        let (scheme, authority) = text.split_once("://")?;
        WebOrigin::new(scheme, authority)
    }

    /// Creates an origin from a scheme (`http` or `https`) and a host with an optional port.
    pub fn new(scheme: &str, authority: &str) -> Option<WebOrigin> {
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _other => return None,
        };
        let (host, port) = split_authority(authority)?;
        let port = port.map_or(Some(default_port), parse_port)?;
        let host = host.to_ascii_lowercase();
        Some(WebOrigin(if port == default_port {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{port}")
        }))
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
