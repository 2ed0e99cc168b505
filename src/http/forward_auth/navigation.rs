//! Navigations: requests of a browser for a page that it shows.
//!
//! Only a navigation is redirected to the sign-in page. A redirect of a script's request would fail
//! with a CORS error, and one of a form would lose its content.

use poem::http::{HeaderMap, HeaderName, Method, header};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// `Vary` of a response that depends on whether the request is a navigation.
pub const VARY: &str =
    "Authorization, Cookie, Accept, Sec-Fetch-Mode, Sec-Fetch-Dest, Sec-Purpose, X-Requested-With";

/// How a browser shows the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Navigation {
    /// A page that can be requested again: GET or HEAD.
    Page,
    /// The response to a form, which a redirect would lose.
    Form,
}

/// Returns the kind of navigation; `None` for every other request. `method` is that of the original
/// request.
pub fn find(method: &str, headers: &HeaderMap) -> Option<Navigation> {
    if headers.contains_key(header::AUTHORIZATION) || headers.contains_key(SEC_PURPOSE) {
        return None;
    }
    let has_metadata = [
        SEC_FETCH_MODE,
        SEC_FETCH_DEST,
        SEC_FETCH_SITE,
        SEC_FETCH_USER,
    ]
    .iter()
    .any(|name| headers.contains_key(name));
    let is_document = if has_metadata {
        is_exactly(headers, &SEC_FETCH_MODE, "navigate")
            && is_exactly(headers, &SEC_FETCH_DEST, "document")
    } else {
        accepts_html(headers) && !headers.contains_key(X_REQUESTED_WITH)
    };
    match method {
        _other if !is_document => None,
        "GET" | "HEAD" => Some(Navigation::Page),
        method if method == Method::POST.as_str() => Some(Navigation::Form),
        _other => None,
    }
}

fn is_exactly(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    let mut fields = headers.get_all(name).iter();
    fields.next().is_some_and(|field| field == value) && fields.next().is_none()
}

/// Whether `Accept` lists HTML itself, not only `*/*`, which programs send.
fn accepts_html(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT).iter();
    let ranges = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    ranges
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/html"))
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    const CHROMIUM: [(&str, &str); 3] = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ];

    fn find_in(method: &str, fields: &[(&'static str, &'static str)]) -> Option<Navigation> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        find(method, &headers)
    }

    #[test]
    fn document_is_navigation() {
        for (method, kind) in [
            ("GET", Some(Navigation::Page)),
            ("HEAD", Some(Navigation::Page)),
            ("POST", Some(Navigation::Form)),
            ("PUT", None),
            ("get", None),
        ] {
            assert_eq!(find_in(method, &CHROMIUM), kind, "{method}");
            let old_browser = [("accept", "application/xml, Text/HTML;q=0.9")];
            assert_eq!(find_in(method, &old_browser), kind, "{method}");
        }
    }

    #[test]
    fn other_requests_are_no_navigation() {
        let changed = |name: &'static str, value: &'static str| {
            let others = CHROMIUM.into_iter().filter(|(other, _)| *other != name);
            others.chain([(name, value)]).collect::<Vec<_>>()
        };
        for fields in [
            changed("sec-fetch-mode", "cors"),
            changed("sec-fetch-mode", "no-cors"),
            changed("sec-fetch-dest", "iframe"),
            changed("sec-fetch-dest", "image"),
            changed("sec-fetch-dest", "empty"),
            changed("sec-purpose", "prefetch"),
            changed("authorization", "Bearer x"),
            vec![("sec-fetch-mode", "navigate"), ("accept", "text/html")],
            vec![("sec-fetch-site", "same-origin"), ("accept", "text/html")],
            [CHROMIUM.as_slice(), &[("sec-fetch-mode", "cors")]].concat(),
            vec![
                ("accept", "text/html"),
                ("x-requested-with", "XMLHttpRequest"),
            ],
            vec![("accept", "*/*")],
            vec![("accept", "text/htmlx")],
            vec![],
        ] {
            assert_eq!(find_in("GET", &fields), None, "{fields:?}");
        }
    }
}
