//! CORS (Fetch standard, section "CORS protocol").
//!
//! Allowed origins are compared exactly. Requests from other origins get no CORS headers, so the
//! browser blocks the response.

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};

/// Request headers that allowed origins can send, beyond the CORS-safelisted ones.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, if-match, last-event-id, prefer, x-latchkey-request, \
     x-request-id",
);

/// Response headers that allowed origins can read, beyond the CORS-safelisted ones.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, location, preference-applied, ratelimit, ratelimit-policy, retry-after, \
     www-authenticate, x-request-id",
);

const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Cache lifetime of a preflight response in seconds. It limits how long a removed origin can still
/// send requests.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Returns the origin of the request if it is allowed.
pub fn find_allowed_origin(request: &Request, origins: &[String]) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

pub fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

pub fn preflight_response() -> Response {
    let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    response
}

/// Allows scripts of the origin to read the response.
///
/// Credentials are allowed only if the operator configured a cookie domain. Otherwise, the session
/// cookie is limited to pages of the server's own host.
pub fn add_cors_headers(headers: &mut HeaderMap, origin: HeaderValue, allow_credentials: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if allow_credentials {
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
