//! Whether a request that changes something comes from a page that may ask for it, and not from a
//! page of another site that makes a browser send its cookie along.
//!
//! Two things must fit. A header of our own, which no form can set and no script of another origin
//! without permission; and what the browser itself says of the page (`Sec-Fetch-Site` of the Fetch
//! Metadata specification, `Origin` of RFC 6454). Programs that are no browsers say neither of
//! those, and the header alone does.

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderName, Method, header},
};

use crate::{app::Gateway, error::Error};

/// The header with which a page says that it means what it sends: `1`.
pub const PAGE_HEADER: HeaderName = HeaderName::from_static("x-latchkey-request");

const SITE_HEADER: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The request lacks the header that only the application's own pages can send.
pub const NO_HEADER: &str =
    "The header `X-Latchkey-Request: 1` is missing. Browser apps must send it.";

const OTHER_ORIGIN: &str =
    "The origin is not allowed. The operator can allow it in `LATCHKEY_CORS_ORIGINS`.";

const OTHER_SITE: &str = "The browser reports a cross-site request (`Sec-Fetch-Site`). Send the \
    request from an allowed origin.";

const AMBIGUOUS: &str = "`X-Latchkey-Request`, `Sec-Fetch-Site`, or `Origin` is duplicated or \
    isn't ASCII. Send each header at most once.";

/// What the request says of its page. `None` where a field is not there.
#[derive(Clone, Copy)]
struct Said<'a> {
    page: Option<&'a str>,
    site: Option<&'a str>,
    origin: Option<&'a str>,
}

/// A request of a page that may ask for changes.
pub struct FromPage;

impl<'a> FromRequest<'a> for FromPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(check(request).map(|()| FromPage)?)
    }
}

/// Whether a page asks, as opposed to a program: a page says so, and then what it says must fit.
pub struct AsPage(pub bool);

impl<'a> FromRequest<'a> for AsPage {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        if !request.headers().contains_key(PAGE_HEADER) {
            return Ok(AsPage(false));
        }
        Ok(check(request).map(|()| AsPage(true))?)
    }
}

/// Refuses what another site may have caused. What changes nothing passes (RFC 9110 section 9.2.1).
pub fn check_unless_safe(request: &Request) -> Result<(), Error> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if safe { Ok(()) } else { check(request) }
}

fn check(request: &Request) -> Result<(), Error> {
    let config = request
        .data::<Arc<Gateway>>()
        .expect("the edge sets it")
        .config();
    let field = |name| single(request, name);
    let said = Said {
        page: field(PAGE_HEADER)?,
        site: field(SITE_HEADER)?,
        origin: field(header::ORIGIN)?,
    };
    let objection = objection(said, &config.issuer.origin(), &config.cors_origins.0);
    objection.map_or(Ok(()), |reason| Err(Error::Csrf(reason)))
}

/// The text of a field. What comes twice or is no text fits nothing.
pub fn single(request: &Request, name: HeaderName) -> Result<Option<&str>, Error> {
    let mut fields = request.headers().get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => field.to_str().map(Some).map_err(|_| Error::Csrf(AMBIGUOUS)),
        (Some(_), Some(_)) => Err(Error::Csrf(AMBIGUOUS)),
    }
}

/// Why the request is rejected; `None` if it is not.
fn objection(said: Said, own: &str, allowed: &[String]) -> Option<&'static str> {
    let is_allowed = |origin: &str| allowed.iter().any(|allowed| allowed == origin);
    if said.page != Some("1") {
        return Some(NO_HEADER);
    }
    match (said.site, said.origin) {
        // The browser vouches for it, also where the server has other names than that of its
        // issuer.
        (Some("same-origin" | "none"), _) | (None, None) => None,
        // Another origin, on this site or on another; an unknown value counts as one.
        (Some(_), None) => Some(OTHER_SITE),
        (Some(_), Some(origin)) => (!is_allowed(origin)).then_some(OTHER_ORIGIN),
        (None, Some(origin)) => (origin != own && !is_allowed(origin)).then_some(OTHER_ORIGIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://auth.example.com";
    const APP: &str = "https://app.example.com";

    #[test]
    fn both_the_header_and_the_browser_must_vouch_for_the_page() {
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
        for (page, site, origin, passes) in cases {
            let said = Said { page, site, origin };
            assert_eq!(
                objection(said, OWN, &[APP.to_owned()]).is_none(),
                passes,
                "{page:?} {site:?} {origin:?}"
            );
        }
    }

    #[test]
    fn detail_names_missing_header_origin_or_site() {
        let reason = |page, site, origin| objection(Said { page, site, origin }, OWN, &[]);
        assert_eq!(reason(None, None, Some(APP)), Some(NO_HEADER));
        assert_eq!(reason(Some("1"), None, Some(APP)), Some(OTHER_ORIGIN));
        assert_eq!(
            reason(Some("1"), Some("cross-site"), Some(APP)),
            Some(OTHER_ORIGIN)
        );
        assert_eq!(
            reason(Some("1"), Some("cross-site"), None),
            Some(OTHER_SITE)
        );
    }
}
