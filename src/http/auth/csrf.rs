//! CSRF protection for requests that use or set the session cookie.
//!
//! Two conditions must hold. The request must have a custom header, which HTML forms cannot set.
//! A browser sends the header of another origin's script only after a preflight, which succeeds
//! only for allowed origins (`src/http/middleware/cors.rs`). If the request has
//! `Sec-Fetch-Site` (Fetch Metadata) or `Origin` (RFC 6454), these headers must report an allowed
//! origin. HTTP clients other than browsers send neither of them.

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderName, Method, header},
};

use crate::{
    app::App,
    error::{CSRF_HEADER_MISSING, Error},
};

/// Custom header of pages. Its value is `1`.
pub const PAGE_HEADER: HeaderName = HeaderName::from_static("x-latchkey-request");

const SITE_HEADER: HeaderName = HeaderName::from_static("sec-fetch-site");

const ORIGIN_NOT_ALLOWED: &str =
    "The origin is not allowed. The operator can allow it in `LATCHKEY_CORS_ORIGINS`.";

const CROSS_SITE_REQUEST: &str = "The browser reports a cross-site request (`Sec-Fetch-Site`). \
    Send the request from an allowed origin.";

const AMBIGUOUS_HEADER: &str = "`X-Latchkey-Request`, `Sec-Fetch-Site`, or `Origin` is \
    duplicated or isn't ASCII. Send each header at most once.";

/// Headers that describe the page that sent the request. `None` if a header is absent.
#[derive(Clone, Copy)]
struct PageHeaders<'a> {
    page: Option<&'a str>,
    site: Option<&'a str>,
    origin: Option<&'a str>,
}

/// Extractor that requires a request from a page of an allowed origin.
pub struct RequireAllowedPage;

impl<'a> FromRequest<'a> for RequireAllowedPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(check(request).map(|()| RequireAllowedPage)?)
    }
}

/// Whether a page sent the request, as opposed to another HTTP client. A request with the custom
/// header counts as a page and must pass the CSRF check.
pub struct IsPageRequest(pub bool);

impl<'a> FromRequest<'a> for IsPageRequest {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        if !request.headers().contains_key(PAGE_HEADER) {
            return Ok(IsPageRequest(false));
        }
        Ok(check(request).map(|()| IsPageRequest(true))?)
    }
}

/// Rejects requests of other origins, also of the same site. Safe methods pass (RFC 9110 section
/// 9.2.1).
pub fn check_unless_safe(request: &Request) -> Result<(), Error> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if is_safe { Ok(()) } else { check(request) }
}

fn check(request: &Request) -> Result<(), Error> {
    let config = &request
        .data::<Arc<App>>()
        .expect("the request middleware sets it")
        .config;
    let headers = PageHeaders {
        page: single(request, PAGE_HEADER)?,
        site: single(request, SITE_HEADER)?,
        origin: single(request, header::ORIGIN)?,
    };
    let rejection = find_rejection(headers, config.issuer.origin(), &config.cors_origins.0);
    rejection.map_or(Ok(()), |reason| Err(Error::Csrf(reason)))
}

/// Returns the value of a header. A duplicate or non-ASCII header is an error.
pub fn single(request: &Request, name: HeaderName) -> Result<Option<&str>, Error> {
    let mut fields = request.headers().get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => field
            .to_str()
            .map(Some)
            .map_err(|_| Error::Csrf(AMBIGUOUS_HEADER)),
        (Some(_), Some(_)) => Err(Error::Csrf(AMBIGUOUS_HEADER)),
    }
}

/// Returns why the request is rejected; `None` if it passes.
fn find_rejection(
    headers: PageHeaders,
    own_origin: &str,
    allowed: &[String],
) -> Option<&'static str> {
    let is_allowed = |origin: &str| allowed.iter().any(|allowed| allowed == origin);
    if headers.page != Some("1") {
        return Some(CSRF_HEADER_MISSING);
    }
    match (headers.site, headers.origin) {
        // The browser reports the same origin, even if the server has host names other than the
        // issuer's, or a request without a page (`none`), such as a typed URL.
        (Some("same-origin" | "none"), _) | (None, None) => None,
        // Another origin of the same site, or another site. An unknown value counts as cross-site.
        (Some(_), None) => Some(CROSS_SITE_REQUEST),
        (Some(_), Some(origin)) => (!is_allowed(origin)).then_some(ORIGIN_NOT_ALLOWED),
        (None, Some(origin)) => {
            (origin != own_origin && !is_allowed(origin)).then_some(ORIGIN_NOT_ALLOWED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://auth.example.com";
    const APP: &str = "https://app.example.com";

    #[test]
    fn custom_header_and_allowed_origin_are_required() {
        let cases = [
            (Some("1"), None, None, true),
            (Some("1"), None, Some(OWN), true),
            (Some("1"), None, Some(APP), true),
            (Some("1"), None, Some("https://evil.example"), false),
            (Some("1"), None, Some("null"), false),
            (Some("1"), Some("same-origin"), None, true),
            (
                Some("1"),
                Some("same-origin"),
                Some("https://other.name"),
                true,
            ),
            (Some("1"), Some("none"), None, true),
            (Some("1"), Some("same-site"), Some(APP), true),
            (
                Some("1"),
                Some("same-site"),
                Some("https://blog.example.com"),
                false,
            ),
            (Some("1"), Some("same-site"), Some(OWN), false),
            (Some("1"), Some("same-site"), None, false),
            (Some("1"), Some("cross-site"), Some(APP), true),
            (
                Some("1"),
                Some("cross-site"),
                Some("https://evil.example"),
                false,
            ),
            (Some("1"), Some("cross-site"), Some("null"), false),
            (Some("1"), Some("cross-site"), None, false),
            (Some("1"), Some("Same-Origin"), None, false),
            (Some("1"), Some(""), None, false),
            (None, Some("same-origin"), Some(OWN), false),
            (None, None, None, false),
            (Some("0"), None, None, false),
            (Some("true"), Some("same-origin"), None, false),
            (Some("1, 1"), None, None, false),
        ];
        for (page, site, origin, is_allowed) in cases {
            let headers = PageHeaders { page, site, origin };
            assert_eq!(
                find_rejection(headers, OWN, &[APP.to_owned()]).is_none(),
                is_allowed,
                "{page:?} {site:?} {origin:?}"
            );
        }
    }

    #[test]
    fn detail_names_missing_header_origin_or_site() {
        let reason =
            |page, site, origin| find_rejection(PageHeaders { page, site, origin }, OWN, &[]);
        assert_eq!(reason(None, None, Some(APP)), Some(CSRF_HEADER_MISSING));
        assert_eq!(reason(Some("1"), None, Some(APP)), Some(ORIGIN_NOT_ALLOWED));
        assert_eq!(
            reason(Some("1"), Some("cross-site"), Some(APP)),
            Some(ORIGIN_NOT_ALLOWED)
        );
        assert_eq!(
            reason(Some("1"), Some("cross-site"), None),
            Some(CROSS_SITE_REQUEST)
        );
    }
}
