//! What a request's story wants on its answer, whatever the answer turns out to be: a cookie that
//! slid, what is left of a limit. The edge puts it there.

use std::sync::{Arc, Mutex, OnceLock};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{app::Allowance, http::middleware::rate_limit_headers};

/// The headers that one answer is to carry. Kept with the request.
#[derive(Clone, Default)]
pub struct Notes(Arc<Kept>);

#[derive(Default)]
struct Kept {
    headers: Mutex<Vec<(HeaderName, HeaderValue)>>,
    allowance: OnceLock<Allowance>,
}

impl Notes {
    /// Those of this request.
    pub fn of(request: &Request) -> &Notes {
        request.data().expect("the edge sets it")
    }

    /// How the limits stand that the request counts against. Most requests count against none, and
    /// never ask.
    pub fn allowance(&self) -> Allowance {
        self.0.allowance.get_or_init(Allowance::default).clone()
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
        if let Some(allowance) = self.0.allowance.get() {
            rate_limit_headers::tell(allowance, self);
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
