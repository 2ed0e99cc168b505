//! The page to which a sign-in returns: the parameter `return_to`.

use url::Url;

/// The longest URL, in bytes.
pub const MAX_LENGTH: usize = 2_048;

/// The pages of the server to which a sign-in can return. Pages below them are included.
const PAGES: [&str; 2] = ["/account", "/verify-email"];

/// A URL to which the server redirects a browser after a sign-in. It is rebuilt from its parsed
/// parts, so that a browser reads it in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo {
    origin: String,
    path_and_query: String,
    is_application: bool,
}

impl ReturnTo {
    /// Returns the absolute URL.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, self.path_and_query)
    }

    /// Returns the origin of an application; `None` for a page of the server.
    pub fn application(&self) -> Option<&str> {
        self.is_application.then_some(&self.origin)
    }
}

/// Parses a URL of a page of this server, or of an application with one of these origins. Returns
/// `None` for every other URL, because a redirect to it would help an attacker (OWASP: unvalidated
/// redirects).
pub fn parse(text: &str, issuer: &Url, applications: &[String]) -> Option<ReturnTo> {
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
    let origin = url.origin().ascii_serialization();
    let is_application = url.origin() != issuer.origin();
    let is_allowed = if is_application {
        applications.contains(&origin)
    } else {
        is_page(url.path(), issuer)
    };
    let query = url.query().map(|query| format!("?{query}"));
    is_allowed.then(|| ReturnTo {
        path_and_query: format!("{}{}", url.path(), query.unwrap_or_default()),
        is_application,
        origin,
    })
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
        let applications = ["https://app.example.net".to_owned()];
        let return_to = parse(text, &Url::parse(issuer).unwrap(), &applications)?;
        assert_eq!(
            return_to.application().is_some(),
            return_to.url().starts_with("https://app.example.net/")
        );
        Some(return_to.url())
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
