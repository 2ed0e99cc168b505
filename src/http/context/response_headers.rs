//! Headers that are set during a request and applied to its response, whatever the status.
//!
//! Examples are a renewed session cookie and the remaining quota of a rate limit.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

use crate::{app::origin::request_limits::RequestLimits, http::context::rate_limit_headers};

/// Headers for the response to one request. The request contains a handle to them.
#[derive(Clone, Default)]
pub struct DeferredHeaders(Arc<DeferredState>);

#[derive(Default)]
struct DeferredState {
    fields: Mutex<Fields>,
    request_limits: OnceLock<RequestLimits>,
}

#[derive(Default)]
struct Fields {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies by name, each with the value of its `Set-Cookie` header.
    cookies: Vec<(String, HeaderValue)>,
}

impl DeferredHeaders {
    /// Returns the headers of the request.
    pub fn of(request: &Request) -> &DeferredHeaders {
        request.data().expect("the request middleware sets it")
    }

    /// Returns the rate limits that count the request. They are created on first use, because most
    /// requests have none.
    pub fn request_limits(&self) -> RequestLimits {
        self.0
            .request_limits
            .get_or_init(RequestLimits::default)
            .clone()
    }

    /// Sets a header of the response. A second value for the same name replaces the first.
    pub fn set(&self, name: HeaderName, value: HeaderValue) {
        self.fields().headers.push((name, value));
    }

    /// Sets a cookie of the response. A second value for the same cookie replaces the first.
    pub fn set_cookie(&self, name: &str, value: HeaderValue) {
        let mut fields = self.fields();
        fields.cookies.retain(|(other, _)| other != name);
        fields.cookies.push((name.to_owned(), value));
    }

    /// Applies the headers to the response.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(request_limits) = self.0.request_limits.get() {
            rate_limit_headers::write_rate_limit_headers(request_limits, self);
        }
        let mut fields = self.fields();
        for (name, value) in fields.headers.drain(..) {
            headers.insert(name, value);
        }
        for (_, cookie) in fields.cookies.drain(..) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }

    fn fields(&self) -> MutexGuard<'_, Fields> {
        self.0.fields.lock().expect("no panic while locked")
    }
}
