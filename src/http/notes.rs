//! What a request's story wants on its answer, whatever the answer turns out to be: a cookie that slid, what is left of a
//! limit. The edge puts it there.

use std::sync::{Arc, Mutex};

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};

/// The headers that one answer is to carry. Kept with the request.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<HeaderMap>>);

impl Notes {
    /// Those of this request.
    pub fn of(request: &Request) -> &Notes {
        request.data().expect("the edge sets it")
    }

    /// Sets a header of the answer; of two with one name the last stays.
    pub fn set(&self, name: HeaderName, value: HeaderValue) {
        self.0.lock().expect("nothing panics while it is held").insert(name, value);
    }

    /// Puts them on the answer.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let notes = std::mem::take(&mut *self.0.lock().expect("nothing panics while it is held"));
        headers.extend(notes);
    }
}
