//! What a request's story wants on its answer, whatever the answer turns out to be: a cookie that
//! slid, what is left of a limit. The edge puts it there.

use std::sync::{Arc, Mutex, OnceLock};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{app::RequestLimits, http::middleware::rate_limit_headers};

/// The headers that one answer is to carry. Kept with the request.
#[derive(Clone, Default)]
pub struct DeferredHeaders(Arc<DeferredState>);

#[derive(Default)]
struct DeferredState {
    headers: Mutex<Vec<(HeaderName, HeaderValue)>>,
    request_limits: OnceLock<RequestLimits>,
}

impl DeferredHeaders {
    /// Those of this request.
    pub fn of(request: &Request) -> &DeferredHeaders {
        request.data().expect("the edge sets it")
    }

    /// How the limits stand that the request counts against. Most requests count against none, and
    /// never ask.
    pub fn request_limits(&self) -> RequestLimits {
        self.0
            .request_limits
            .get_or_init(RequestLimits::default)
            .clone()
    }

    /// Sets a header of the answer; of two with one name the last stays.
    pub fn set(&self, name: HeaderName, value: HeaderValue) {
        self.0
            .headers
            .lock()
            .expect("nothing panics while it is held")
            .push((name, value));
    }

    /// Puts them on the answer.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(request_limits) = self.0.request_limits.get() {
            rate_limit_headers::write_rate_limit_headers(request_limits, self);
        }
        for (name, value) in self
            .0
            .headers
            .lock()
            .expect("nothing panics while it is held")
            .drain(..)
        {
            headers.insert(name, value);
        }
    }
}
