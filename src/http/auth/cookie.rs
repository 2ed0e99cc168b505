//! The browser's cookie as browsers see it (RFC 6265): its name, its attributes, how it is read,
//! set and cleared.
//!
//! It is set on the answer through the request's notes, so that whatever the answer turns out to be
//! carries it. No failure clears it: a store that is down, or a request that is wrong, must sign
//! nobody out.

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderValue, header},
};

use crate::{
    app::{Cookie, Gateway},
    error::Error,
    http::{auth::caller, middleware::response_headers::DeferredHeaders},
};

/// The cookie of the gateway's own host: browsers let no other host, and no page without TLS, plant
/// one of this name.
pub const OWN_HOST: &str = "__Host-latchkey";

/// The cookie that the hosts of a domain share: no page without TLS can plant one of this name.
const WHOLE_DOMAIN: &str = "__Secure-latchkey";

fn name(gateway: &Gateway) -> &'static str {
    if gateway.config().cookie_domain.is_some() {
        WHOLE_DOMAIN
    } else {
        OWN_HOST
    }
}

/// The value of the cookie that came along. Two of them are refused: one was planted, and nobody
/// can tell which.
pub fn sent(request: &Request) -> Result<Option<&str>, Error> {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    let fields = request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes);
    only(fields, name(gateway))
}

/// The values of all of them, planted or not: whoever signs out wants none.
pub fn all_sent(request: &Request) -> Vec<String> {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    let fields = request
        .headers()
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes);
    let values = all(fields, name(gateway)).filter_map(|value| std::str::from_utf8(value).ok());
    values.map(str::to_owned).collect()
}

fn all<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = fields
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii);
    pairs.filter_map(move |pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The value of the one cookie of this name. Others may hold any bytes: they are those of other
/// programs.
fn only<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = all(fields, name);
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Error::invalid_field(
            "Cookie",
            "contains the session cookie twice",
        )),
        // What is no text is no token either.
        (first, _) => Ok(first.map(|value| std::str::from_utf8(value).unwrap_or_default())),
    }
}

/// What a handler does with the cookie.
pub struct SessionCookie {
    gateway: Arc<Gateway>,
    notes: DeferredHeaders,
    shown: bool,
}

impl SessionCookie {
    /// That of the browser which sent this request.
    pub fn of(request: &Request) -> SessionCookie {
        let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
        let shown =
            matches!(caller::bearer(request), Ok(None)) && matches!(sent(request), Ok(Some(_)));
        SessionCookie {
            gateway: gateway.clone(),
            notes: DeferredHeaders::of(request).clone(),
            shown,
        }
    }

    /// Hands a cookie out.
    pub fn put(&self, cookie: &Cookie) {
        self.set(&cookie.token, self.gateway.seconds_left(cookie));
    }

    /// Takes the cookie back: its session has ended.
    pub fn clear(&self) {
        self.set("", 0);
    }

    /// Takes it back if it is what the caller came with.
    pub fn clear_if_shown(&self) {
        if self.shown {
            self.clear();
        }
    }

    fn set(&self, value: &str, max_age: u64) {
        let domain = self
            .gateway
            .config()
            .cookie_domain
            .as_ref()
            .map(|domain| domain.as_str());
        let mut field = HeaderValue::try_from(field(name(&self.gateway), value, max_age, domain))
            .expect("tokens are plain text");
        field.set_sensitive(true);
        self.notes.set(header::SET_COOKIE, field);
    }
}

impl<'a> FromRequest<'a> for SessionCookie {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(SessionCookie::of(request))
    }
}

fn field(name: &str, value: &str, max_age: u64, domain: Option<&str>) -> String {
    let domain = domain
        .map(|domain| format!("; Domain={domain}"))
        .unwrap_or_default();
    format!("{name}={value}; Path=/{domain}; Max-Age={max_age}; Secure; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(fields: &[&'a [u8]]) -> Result<Option<&'a str>, Error> {
        only(fields.iter().copied(), OWN_HOST)
    }

    #[test]
    fn it_is_found_among_those_of_others() {
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
    fn two_of_them_are_refused() {
        assert!(read(&[b"__Host-latchkey=x; __Host-latchkey=x"]).is_err());
        assert!(read(&[b"__Host-latchkey=x", b"__Host-latchkey=y"]).is_err());
    }

    #[test]
    fn its_attributes_are_those_that_its_name_promises() {
        assert_eq!(
            field(OWN_HOST, "x", 600, None),
            "__Host-latchkey=x; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            field(WHOLE_DOMAIN, "", 0, Some("example.com")),
            "__Secure-latchkey=; Path=/; Domain=example.com; Max-Age=0; Secure; HttpOnly; \
             SameSite=Lax"
        );
    }
}
