//! The session cookie (RFC 6265): its name and attributes, and how it is read, set, and cleared.
//!
//! `DeferredHeaders` add the cookie to the response, whatever its status. Errors never clear the
//! cookie, because an unavailable store or an invalid request must not sign the user out.

use std::sync::Arc;

use latchkey_domain::cookie_names::NAME_PREFIXES;
use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderValue, header},
};

use crate::{
    app::{App, sessions::issue::Cookie},
    error::Error,
    http::{auth::caller, context::response_headers::DeferredHeaders},
};

/// Maximum number of session cookies in a request. If there are several, the signature of each is
/// checked.
const MAX_SESSION_COOKIES: usize = 4;

const TOO_MANY_COOKIES: &str = "contains more than four session cookies; delete the cookies of \
    this site in the browser";

const TWO_SIGNED_COOKIES: &str = "contains two session cookies of this server; delete the cookies \
    of this site in the browser";

/// Session cookies of a request, not verified.
enum PresentedValues<'a> {
    AtMostOne(Option<&'a str>),
    Several(Vec<&'a str>),
}

impl<'a> PresentedValues<'a> {
    fn read(request: &'a Request) -> Result<PresentedValues<'a>, Error> {
        PresentedValues::collect(session_values(request))
    }

    fn collect(mut values: impl Iterator<Item = &'a str>) -> Result<PresentedValues<'a>, Error> {
        let (Some(first), second) = (values.next(), values.next()) else {
            return Ok(PresentedValues::AtMostOne(None));
        };
        let Some(second) = second else {
            return Ok(PresentedValues::AtMostOne(Some(first)));
        };
        let all = [first, second].into_iter().chain(values);
        let all: Vec<&str> = all.take(MAX_SESSION_COOKIES + 1).collect();
        if all.len() > MAX_SESSION_COOKIES {
            Err(Error::invalid_field("Cookie", TOO_MANY_COOKIES))
        } else {
            Ok(PresentedValues::Several(all))
        }
    }
}

/// Returns the value of the session cookie, not verified. Of several session cookies, only the one
/// that this server signed counts, because a sibling host can plant others.
///
/// # Errors
/// `invalid_request` if the request contains more than four session cookies, or two that this
/// server signed: an attacker could have set one of them. `busy`, `unavailable`.
pub async fn read_value(request: &Request) -> Result<Option<&str>, Error> {
    match PresentedValues::read(request)? {
        PresentedValues::AtMostOne(value) => Ok(value),
        // Boxed: cold path, keeps the caller's future small.
        PresentedValues::Several(values) => Box::pin(select_signed(app(request), values)).await,
    }
}

async fn select_signed<'a>(app: &App, values: Vec<&'a str>) -> Result<Option<&'a str>, Error> {
    let mut selected = None;
    for value in &values {
        let is_signed = app.tokens.is_signed_cookie(value).await?;
        if is_signed && selected.replace(*value).is_some() {
            return Err(Error::invalid_field("Cookie", TWO_SIGNED_COOKIES));
        }
    }
    // If none is signed, the response is that for one invalid cookie.
    Ok(selected.or(values.first().copied()))
}

/// Returns the value of another cookie of the server, if the request has it once.
pub fn read_named<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut values = find_values(request, name);
    match (values.next(), values.next()) {
        (value, None) => value,
        (_, Some(_)) => None,
    }
}

/// Returns the values of all session cookies, because a sign-out revokes the session of each.
///
/// # Errors
/// `invalid_request` if the request contains more than four. A sign-out that ignored some of them
/// would not revoke their sessions.
pub fn read_all_values(request: &Request) -> Result<Vec<String>, Error> {
    Ok(match PresentedValues::read(request)? {
        PresentedValues::AtMostOne(value) => value.into_iter().map(str::to_owned).collect(),
        PresentedValues::Several(values) => values.into_iter().map(str::to_owned).collect(),
    })
}

/// Returns the cookies of the request in one header value, except those whose names begin like the
/// names of this server, with any base name. Returns `None` if none is left.
pub fn without_own(request: &Request) -> Option<HeaderValue> {
    let fields = request.headers().get_all(header::COOKIE).iter();
    HeaderValue::from_bytes(&join_others(fields.map(HeaderValue::as_bytes)))
        .ok()
        .filter(|value| !value.is_empty())
}

/// Joins the pairs of the fields that aren't cookies of this server.
fn join_others<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let is_own = |pair: &&[u8]| {
        pair.contains(&b'=')
            && NAME_PREFIXES
                .iter()
                .any(|name| pair.starts_with(name.as_bytes()))
    };
    let others: Vec<&[u8]> = fields
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_own(pair))
        .collect();
    others.join(&b"; "[..])
}

fn session_values(request: &Request) -> impl Iterator<Item = &str> {
    find_values(request, app(request).cookie_names.session())
}

/// Returns the values of all cookies with this name. Cookies of other applications can contain any
/// bytes. A value that is not UTF-8 becomes the empty string, which is an invalid token.
fn find_values<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = request.headers().get_all(header::COOKIE).iter();
    let pairs = fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii);
    pairs
        .filter_map(move |pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|value| std::str::from_utf8(value).unwrap_or_default())
}

fn app(request: &Request) -> &Arc<App> {
    request.data().expect("the request middleware sets it")
}

/// Sets and clears the session cookie of the response.
pub struct SessionCookie {
    app: Arc<App>,
    headers: DeferredHeaders,
    is_presented: bool,
}

impl SessionCookie {
    /// The cookie of the browser that sent the request.
    pub fn of(request: &Request) -> SessionCookie {
        // An operation that succeeded has selected the cookie if there are several.
        let is_presented =
            matches!(caller::bearer(request), Ok(None)) && session_values(request).next().is_some();
        SessionCookie {
            app: app(request).clone(),
            headers: DeferredHeaders::of(request).clone(),
            is_presented,
        }
    }

    /// Sets the cookie, which expires together with its token.
    pub fn put(&self, cookie: &Cookie) {
        self.set(&cookie.token, self.app.sessions.cookie_max_age(cookie));
    }

    /// Clears the cookie, because its session was revoked.
    pub fn clear(&self) {
        self.set("", 0);
    }

    /// Clears the cookie if it authenticated the request.
    pub fn clear_if_presented(&self) {
        if self.is_presented {
            self.clear();
        }
    }

    fn set(&self, value: &str, max_age: u64) {
        let domain = self
            .app
            .config
            .cookie_domain
            .as_ref()
            .map(|domain| domain.as_str());
        let name = self.app.cookie_names.session();
        let text = format_set_cookie(name, value, max_age, domain);
        let mut set_cookie = HeaderValue::try_from(text).expect("tokens are ASCII");
        set_cookie.set_sensitive(true);
        self.headers.set_cookie(name, set_cookie);
    }
}

impl<'a> FromRequest<'a> for SessionCookie {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(SessionCookie::of(request))
    }
}

pub fn format_set_cookie(name: &str, value: &str, max_age: u64, domain: Option<&str>) -> String {
    let domain = domain
        .map(|domain| format!("; Domain={domain}"))
        .unwrap_or_default();
    format!("{name}={value}; Path=/{domain}; Max-Age={max_age}; Secure; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use latchkey_domain::cookie_names::DEFAULT_SESSION_COOKIE;

    use super::*;

    fn read(fields: &[&[u8]]) -> Vec<String> {
        let request = fields.iter().fold(Request::builder(), |builder, field| {
            builder.header(header::COOKIE, HeaderValue::from_bytes(field).unwrap())
        });
        let request = request.finish();
        let values = find_values(&request, DEFAULT_SESSION_COOKIE);
        values.map(str::to_owned).collect()
    }

    #[test]
    fn cookie_is_found_among_other_cookies() {
        assert_eq!(read(&[b"a=b; __Host-latchkey=x.y.z;c=\xff"]), ["x.y.z"]);
        assert_eq!(read(&[b"a=\xc3\xa4", b"__Host-latchkey=x"]), ["x"]);
        assert_eq!(
            read(&[
                b"__Host-latchkey=x; __Host-latchkey=\xff",
                b"__Host-latchkey=x"
            ]),
            ["x", "", "x"]
        );
        for other in [
            "",
            "__host-latchkey=x",
            "__Host-latchkey",
            "x__Host-latchkey=x",
            "__Host-latchkey2=x",
            "__Host-latchkey_a=x",
            "a=__Host-latchkey=x",
        ] {
            assert!(read(&[other.as_bytes()]).is_empty(), "{other}");
        }
    }

    #[test]
    fn at_most_four_session_cookies_are_accepted() {
        let collect = |count| PresentedValues::collect(std::iter::repeat_n("x", count));
        for count in 0..=1 {
            assert!(matches!(collect(count), Ok(PresentedValues::AtMostOne(_))));
        }
        for count in 2..=4 {
            let collected = collect(count);
            assert!(matches!(collected, Ok(PresentedValues::Several(all)) if all.len() == count));
        }
        assert!(collect(5).is_err() && collect(1000).is_err());
    }

    #[test]
    fn cookies_of_others_are_joined() {
        let join = |fields: &[&'static [u8]]| {
            String::from_utf8(join_others(fields.iter().copied())).unwrap()
        };
        assert_eq!(
            join(&[b"a=1; __Host-latchkey=x;b=2", b"__Secure-latchkey=y; c=3"]),
            "a=1; b=2; c=3"
        );
        assert_eq!(join(&[b"__Host-latchkey-note=x; __Host-latchkey=y"]), "");
        // Also those of a server with another base name.
        assert_eq!(
            join(&[b"__Host-latchkey_b2=x; a=1; __Secure-latchkey_b2=y; __Host-latchkey_b2-app=z"]),
            "a=1"
        );
        assert_eq!(
            join(&[b"x__Host-latchkey=x; b=__Host-latchkey=y"]),
            "x__Host-latchkey=x; b=__Host-latchkey=y"
        );
    }

    #[test]
    fn attributes_match_the_name_prefix() {
        assert_eq!(
            format_set_cookie(DEFAULT_SESSION_COOKIE, "x", 600, None),
            "__Host-latchkey=x; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            format_set_cookie("__Secure-latchkey", "", 0, Some("example.com")),
            "__Secure-latchkey=; Path=/; Domain=example.com; Max-Age=0; Secure; HttpOnly; \
             SameSite=Lax"
        );
    }
}
