//! The cookies of this server at the host of an application: the application cookie, and the nonce
//! cookie, which binds a ticket to the browser.

use latchkey_domain::{
    cookie_names::CookieNames,
    nonce::{self, Nonce},
    web_origin::WebOrigin,
};
use poem::{Request, http::HeaderValue};

use crate::{
    app::sessions::issue::Cookie,
    http::{auth::cookie, context::response_headers::DeferredHeaders},
};

/// The names of the cookies at one application.
pub struct ApplicationCookies {
    application: String,
    nonce: String,
}

impl ApplicationCookies {
    pub fn at(application: &WebOrigin, names: &CookieNames) -> ApplicationCookies {
        let port = application.explicit_port();
        ApplicationCookies {
            application: names.application(port),
            nonce: names.nonce(port),
        }
    }

    /// Returns the value of the application cookie, if the request has it once.
    pub fn read_token<'a>(&self, request: &'a Request) -> Option<&'a str> {
        cookie::read_named(request, &self.application)
    }

    /// Returns the nonce, if the request has it once.
    pub fn read_nonce(&self, request: &Request) -> Option<Nonce> {
        Nonce::parse(cookie::read_named(request, &self.nonce)?)
    }

    /// Sets the application cookie of the response, which expires after `max_age` seconds.
    pub fn put_token(&self, headers: &DeferredHeaders, cookie: &Cookie, max_age: u64) {
        put(headers, &self.application, &cookie.token, max_age);
    }

    /// Sets the nonce cookie of the response.
    pub fn put_nonce(&self, headers: &DeferredHeaders, nonce: &Nonce) {
        let value = nonce.cookie_value();
        put(headers, &self.nonce, &value, nonce::LIFETIME_SECONDS);
    }
}

fn put(headers: &DeferredHeaders, name: &str, value: &str, max_age: u64) {
    let text = cookie::format_set_cookie(name, value, max_age, None);
    let mut value = HeaderValue::try_from(text).expect("tokens are ASCII");
    value.set_sensitive(true);
    headers.set_cookie(name, value);
}
