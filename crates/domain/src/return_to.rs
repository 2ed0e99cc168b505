//! The page to which a sign-in returns: the parameter `return_to`.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{application_token::APPLICATION_PATH, web_origin::WebOrigin};

/// The longest URL, in bytes.
pub const MAX_LENGTH: usize = 2_048;

/// The pages of the server to which a sign-in can return. Pages below them are included.
const PAGES: [&str; 2] = ["/account", "/verify-email"];

/// The site to which a sign-in returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// This server.
    Server,
    /// An application behind a proxy. It requires a ticket.
    Application,
    /// A page of another origin that calls the API.
    ApiClient,
}

/// A URL to which the server redirects a browser after a sign-in. It is rebuilt from its parsed
/// parts, so that a browser reads it in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo {
    origin: WebOrigin,
    path_and_query: String,
    site: Site,
}

impl ReturnTo {
    /// Returns the absolute URL.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin.as_str(), self.path_and_query)
    }

    /// Returns the path and the query.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Returns the origin of another site; `None` for a page of the server.
    pub fn other_origin(&self) -> Option<&str> {
        (self.site != Site::Server).then_some(self.origin.as_str())
    }

    /// Returns the origin of an application behind a proxy.
    pub fn application(&self) -> Option<&WebOrigin> {
        (self.site == Site::Application).then_some(&self.origin)
    }
}

/// Parses a URL of a page of this server, or of another site. `find_site` returns the kind of an
/// origin other than that of the issuer, if it is allowed. Returns `None` for every other URL,
/// because a redirect to it would help an attacker (OWASP: unvalidated redirects).
pub fn parse(
    text: &str,
    issuer: &Url,
    find_site: impl Fn(&WebOrigin) -> Option<Site>,
) -> Option<ReturnTo> {
    let is_forbidden = |c: char| c.is_control() || c == '\\';
    if text.len() > MAX_LENGTH || text.contains(is_forbidden) {
        return None;
    }
    // The parser also accepts `https:host` and `https:///host`.
    let (_, rest) = text.split_once("://")?;
    if rest.starts_with('/') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if has_credentials {
        return None;
    }
    let origin = WebOrigin::parse(&url.origin().ascii_serialization())?;
    let site = if url.origin() == issuer.origin() {
        is_page(url.path(), issuer).then_some(Site::Server)?
    } else {
        find_site(&origin)?
    };
    if site == Site::Application && is_server_path(url.path()) {
        return None;
    }
    let query = url.query().map(|query| format!("?{query}"));
    Some(ReturnTo {
        origin,
        path_and_query: format!("{}{}", url.path(), query.unwrap_or_default()),
        site,
    })
}

/// Returns whether a proxy might send this path of an application to the server: it decodes the
/// path, and merges slashes.
fn is_server_path(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.take(1).eq([APPLICATION_PATH.trim_matches('/')])
}

fn is_page(path: &str, issuer: &Url) -> bool {
    let path = path.strip_prefix(issuer.path().trim_end_matches('/'));
    path.is_some_and(|path| {
        PAGES.iter().any(|page| {
            path.strip_prefix(page)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_for(issuer: &str, text: &str) -> Option<String> {
        let find_site = |origin: &WebOrigin| match origin.as_str() {
            "https://app.example.net" => Some(Site::Application),
            "https://client.example.net" => Some(Site::ApiClient),
            _other => None,
        };
        let return_to = parse(text, &Url::parse(issuer).unwrap(), find_site)?;
        let url = return_to.url();
        let is_application = url.starts_with("https://app.example.net/");
        assert_eq!(return_to.application().is_some(), is_application);
        let is_other = is_application || url.starts_with("https://client.example.net/");
        assert_eq!(return_to.other_origin().is_some(), is_other);
        assert!(url.ends_with(return_to.path_and_query()));
        Some(url)
    }

    #[test]
    fn pages_of_the_server_are_accepted() {
        for (issuer, text, parsed) in [
            (
                "https://auth.example.com",
                "https://auth.example.com/account/sessions?a=b#c",
                "https://auth.example.com/account/sessions?a=b",
            ),
            (
                "https://auth.example.com",
                "https://AUTH.example.com:443/account",
                "https://auth.example.com/account",
            ),
            (
                "https://example.com/auth/",
                "https://example.com/auth/verify-email",
                "https://example.com/auth/verify-email",
            ),
            (
                "http://localhost:8000",
                "http://localhost:8000/account/./tokens",
                "http://localhost:8000/account/tokens",
            ),
            (
                "https://auth.example.com",
                "https://app.example.net/a/../b?c=d",
                "https://app.example.net/b?c=d",
            ),
            (
                "https://auth.example.com",
                "https://app.example.net",
                "https://app.example.net/",
            ),
            (
                "https://auth.example.com",
                "https://app.example.net//evil.example/.latchkey/",
                "https://app.example.net//evil.example/.latchkey/",
            ),
            (
                "https://auth.example.com",
                "https://app.example.net/.latchkeys?a=%2F.latchkey/",
                "https://app.example.net/.latchkeys?a=%2F.latchkey/",
            ),
            (
                "https://auth.example.com",
                "https://client.example.net/.latchkey/",
                "https://client.example.net/.latchkey/",
            ),
        ] {
            assert_eq!(parse_for(issuer, text).as_deref(), Some(parsed), "{text}");
        }
    }

    #[test]
    fn other_urls_are_rejected() {
        let long = format!("https://auth.example.com/account?{}", "a".repeat(2_048));
        for text in [
            "",
            "/account",
            "//auth.example.com/account",
            "https:auth.example.com/account",
            "https:///auth.example.com/account",
            "https:/auth.example.com/account",
            "http://auth.example.com/account",
            "https://auth.example.com:8443/account",
            "https://auth.example.com./account",
            "https://auth.example.com%2eevil.com/account",
            "https://auth.example.com.evil.com/account",
            "https://evilauth.example.com/account",
            "https://auth.example.com@evil.com/account",
            "https://john@auth.example.com/account",
            "https://:secret@auth.example.com/account",
            "https://evil.com/account",
            "https://app.example.net:8443/",
            "https://app.example.net.evil.com/",
            "https://app.example.net@evil.com/",
            "https://evilapp.example.net/",
            "http://app.example.net/",
            "//app.example.net/",
            "https://app.example.net/.latchkey",
            "https://app.example.net/.latchkey/callback?ticket=x",
            "https://app.example.net/a/../.latchkey/callback",
            "https://app.example.net//.latchkey//callback",
            "https://app.example.net/%2elatchkey/callback",
            "https://app.example.net/.%6Catchkey%2fcallback",
            "https://[::1]/account",
            "javascript://auth.example.com/%0aalert(1)",
            "data://auth.example.com/account",
            "https://auth.example.com/accounts",
            "https://auth.example.com/",
            "https://auth.example.com/account/../sign-out",
            "https://auth.example.com/account/%2e%2e/sign-out",
            "https://auth.example.com\\@evil.com/account",
            "https://auth.example.com/account\\",
            "https://auth.example.com/acc\tount",
            "https://auth.example.com/account\n",
            &long,
        ] {
            assert_eq!(parse_for("https://auth.example.com", text), None, "{text}");
        }
        let other_path = "https://example.com/account";
        assert_eq!(parse_for("https://example.com/auth", other_path), None);
    }
}
