//! The session cookie (RFC 6265): its name and attributes, and how it is read, set, and cleared.
//!
//! `DeferredHeaders` add the cookie to the response, whatever its status. Errors never clear the
//! cookie, because an unavailable store or an invalid request must not sign the user out.

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderValue, header},
};

use crate::{
    app::{App, sessions::issue::Cookie},
    error::Error,
    http::{auth::caller, context::response_headers::DeferredHeaders},
};

/// The name of the session cookie with the default settings, for the OpenAPI document.
pub const DEFAULT_NAME: &str = "__Host-latchkey";

/// The beginning of all names that cookies of a server can have, whatever its setting.
const OWN_PREFIXES: [&str; 2] = ["__Host-latchkey", "__Secure-latchkey"];

fn cookie_name(app: &App) -> &str {
    let name = &app.config.cookie_name;
    if app.config.cookie_domain.is_some() {
        name.domain()
    } else {
        name.host()
    }
}

/// Returns the value of the session cookie. Two session cookies are an error, because an attacker
/// could have set one of them.
pub fn read_value(request: &Request) -> Result<Option<&str>, Error> {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let fields = request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes);
    find_single_value(fields, cookie_name(app))
}

/// Returns the value of another cookie of the server, if the request has it once.
pub fn read_named<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let fields = request.headers().get_all(header::COOKIE).iter();
    let fields = fields.map(HeaderValue::as_bytes);
    find_single_value(fields, name).ok().flatten()
}

/// Returns the values of all session cookies, because a sign-out revokes the session of each.
pub fn read_all_values(request: &Request) -> Vec<String> {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let fields = request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes);
    let values =
        find_values(fields, cookie_name(app)).filter_map(|value| std::str::from_utf8(value).ok());
    values.map(str::to_owned).collect()
}

/// Returns the cookies of the request in one header value, except those whose names begin like the
/// names of this server. Returns `None` if none is left.
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
            && OWN_PREFIXES
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

fn find_values<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    let pairs = fields
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii);
    pairs.filter_map(move |pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Returns the value of the only cookie with this name. Cookies of other applications can contain
/// any bytes.
fn find_single_value<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Option<&'a str>, Error> {
    let mut values = find_values(fields, name);
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Error::invalid_field(
            "Cookie",
            "contains the session cookie twice",
        )),
        // A value that is not UTF-8 becomes the empty string, which is an invalid token.
        (first, _) => Ok(first.map(|value| std::str::from_utf8(value).unwrap_or_default())),
    }
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
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let is_presented = matches!(caller::bearer(request), Ok(None))
            && matches!(read_value(request), Ok(Some(_)));
        SessionCookie {
            app: app.clone(),
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
        let text = format_set_cookie(cookie_name(&self.app), value, max_age, domain);
        let mut set_cookie = HeaderValue::try_from(text).expect("tokens are ASCII");
        set_cookie.set_sensitive(true);
        self.headers.set_cookie(cookie_name(&self.app), set_cookie);
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
    use super::*;

    fn read<'a>(fields: &[&'a [u8]]) -> Result<Option<&'a str>, Error> {
        find_single_value(fields.iter().copied(), "__Host-latchkey")
    }

    #[test]
    fn cookie_is_found_among_other_cookies() {
        assert_eq!(
            read(&[b"a=b; __Host-latchkey=x.y.z;c=\xff"]).unwrap(),
            Some("x.y.z")
        );
        assert_eq!(
            read(&[b"a=\xc3\xa4", b"__Host-latchkey=x"]).unwrap(),
            Some("x")
        );
        for other in [
            "",
            "__host-latchkey=x",
            "__Host-latchkey",
            "x__Host-latchkey=x",
            "__Host-latchkey2=x",
            "a=__Host-latchkey=x",
        ] {
            assert_eq!(read(&[other.as_bytes()]).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn cookies_of_others_are_joined() {
        let join = |fields: &[&'static [u8]]| {
            String::from_utf8(join_others(fields.iter().copied())).unwrap()
        };
        assert_eq!(
            join(&[
                b"a=1; __Host-latchkey=x;b=2",
                b"__Secure-latchkey_test=y; c=3"
            ]),
            "a=1; b=2; c=3"
        );
        assert_eq!(join(&[b"__Host-latchkey-note=x; __Host-latchkey=y"]), "");
        assert_eq!(
            join(&[b"x__Host-latchkey=x; b=__Host-latchkey=y"]),
            "x__Host-latchkey=x; b=__Host-latchkey=y"
        );
    }

    #[test]
    fn duplicate_cookies_are_rejected() {
        assert!(read(&[b"__Host-latchkey=x; __Host-latchkey=x"]).is_err());
        assert!(read(&[b"__Host-latchkey=x", b"__Host-latchkey=y"]).is_err());
    }

    #[test]
    fn attributes_match_the_name_prefix() {
        assert_eq!(
            format_set_cookie("__Host-latchkey", "x", 600, None),
            "__Host-latchkey=x; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            format_set_cookie("__Secure-latchkey", "", 0, Some("example.com")),
            "__Secure-latchkey=; Path=/; Domain=example.com; Max-Age=0; Secure; HttpOnly; \
             SameSite=Lax"
        );
    }
}
