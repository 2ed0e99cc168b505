//! Browser programs of other origins (the Fetch standard, section "CORS protocol"). Only exact
//! origins are let in, and a request of any other is answered as if there were no such thing: the
//! browser then keeps the answer to itself.

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};

/// What such programs may send beside the simple headers.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, if-match, last-event-id, prefer, x-latchkey-request, \
     x-request-id",
);

/// What such programs may read beside the simple headers.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, location, preference-applied, ratelimit, ratelimit-policy, retry-after, \
     www-authenticate, x-request-id",
);

const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Ten minutes: long enough to matter, short enough to take a permission back.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin of the request, if it is one of those allowed.
pub fn allowed(request: &Request, origins: &[String]) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

/// Whether the browser asks for permission first.
pub fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The permission.
pub fn preflight() -> Response {
    let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

/// Lets the program read the answer. A cookie may come along only where its domain is set: that of
/// the gateway's own host is for pages of that host, and an operator who wants others to use it
/// says so by naming the domain that they share.
pub fn add_cors_headers(headers: &mut HeaderMap, origin: HeaderValue, cookies: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cookies {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    headers.append(
        HeaderName::from_static("vary"),
        HeaderValue::from_static("Origin"),
    );
}
