//! Origins as browsers write them (RFC 6454 section 6.2): scheme, host and port, and nothing else.

/// An origin in its one form: in lower case, without a port that goes without saying.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Reads `scheme://host:port`. `null`, and whatever has a path, is none.
    pub fn parse(text: &str) -> Option<WebOrigin> {
        let (scheme, authority) = text.split_once("://")?;
        WebOrigin::new(scheme, authority)
    }

    /// Of a scheme (`http` or `https`), and of a host with or without a port.
    pub fn new(scheme: &str, authority: &str) -> Option<WebOrigin> {
        let scheme = scheme.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _other => return None,
        };
        let (host, port) = split(authority)?;
        let port = port.map_or(Some(usual), number)?;
        let host = host.to_ascii_lowercase();
        Some(WebOrigin(if port == usual {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{port}")
        }))
    }

    /// The text, as a browser sends it in `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Host and port (RFC 3986 section 3.2), if it is a host.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
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
        Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// A port: digits alone, without the sign that numbers may have.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        WebOrigin::parse(text).map(|origin| origin.as_str().to_owned())
    }

    #[test]
    fn one_origin_has_one_form() {
        for (text, form) in [
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
            assert_eq!(parsed(text).as_deref(), Some(form), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_none() {
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
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
