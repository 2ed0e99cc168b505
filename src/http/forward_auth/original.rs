//! The original request of a check, and its protection against cross-site request forgery.
//!
//! The headers about the original request are trusted only from `LATCHKEY_TRUSTED_PROXIES`. A
//! duplicated header isn't trusted, because the client might have sent one of the two.
//!
//! A page of any site can make a browser send the session cookie. With a cookie, only safe requests
//! and requests with the `Origin` of the upstream are therefore allowed. A request counts as unsafe
//! if information is missing. The header that `csrf` requires can't be required here, because
//! applications behind a proxy don't send it.

use std::sync::Arc;

use latchkey_domain::web_origin::WebOrigin;
use poem::{
    Request,
    http::{HeaderName, header},
};

use crate::{
    app::App,
    error::Error,
    http::{auth::csrf, context::client_address},
};

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const UNTRUSTED_PEER: &str = "With a session cookie, the check must come from a trusted proxy. \
    Add the IP address of the proxy to `LATCHKEY_TRUSTED_PROXIES`.";

const METHOD_REQUIRED: &str = "With a session cookie, the proxy must send the method of the \
    original request in `X-Forwarded-Method`, exactly once, and no other method in \
    `X-Original-Method`.";

const HOST_REQUIRED: &str = "With a session cookie, the proxy must send the scheme and the host of \
    the original request in `X-Forwarded-Proto` and `X-Forwarded-Host`, each exactly once.";

pub const ORIGIN_REQUIRED: &str = "With a session cookie, a request that changes state or opens a \
    WebSocket must have an `Origin` with the scheme and the host of the application.";

/// Safe methods (RFC 9110 section 9.2.1). Names of methods are case-sensitive.
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// Rejects a check by cookie if another site might have caused the original request.
pub fn check(request: &Request) -> Result<(), Error> {
    if is_safe(request) || is_same_origin(request) {
        Ok(())
    } else {
        Err(Error::Csrf(find_cause(request)))
    }
}

/// Returns why the check is rejected. Without the headers of the proxy, the `Origin` isn't the
/// cause.
fn find_cause(request: &Request) -> &'static str {
    match () {
        () if !is_from_trusted_proxy(request) => UNTRUSTED_PEER,
        () if original_method(request).is_none() => METHOD_REQUIRED,
        () if upstream(request).is_none() => HOST_REQUIRED,
        () => ORIGIN_REQUIRED,
    }
}

/// Returns the origin of the upstream, if a trusted proxy sends its scheme and host.
fn upstream(request: &Request) -> Option<WebOrigin> {
    let (scheme, host) = (
        trusted_header(request, FORWARDED_PROTO)?,
        trusted_header(request, FORWARDED_HOST)?,
    );
    WebOrigin::new(scheme?, host?)
}

/// Returns the origin of the upstream, for an identity assertion.
///
/// The original method is required, because only a forward authentication check contains it. Any
/// other request might be from a client that chose the `Host` header itself, and a load balancer
/// forwarded it.
pub fn assertion_upstream(request: &Request) -> Option<WebOrigin> {
    original_method(request).and_then(|_| upstream(request))
}

/// Whether the original request is known to be safe.
///
/// The method of the check counts as well, because some proxies send the original method there.
fn is_safe(request: &Request) -> bool {
    let is_safe_method = |method: &str| SAFE_METHODS.contains(&method);
    is_safe_method(request.method().as_str())
        && !is_websocket_upgrade(request)
        && original_method(request).is_some_and(is_safe_method)
}

/// Whether the request opens a WebSocket.
///
/// A WebSocket starts with GET, but then transports any message of the page with the permissions of
/// the cookie (RFC 6455 section 10.2). A proxy might remove `Upgrade`, but not the other headers,
/// which scripts can't set or remove.
fn is_websocket_upgrade(request: &Request) -> bool {
    let websocket_headers = [
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
    ];
    websocket_headers
        .into_iter()
        .any(|name| request.headers().contains_key(name))
}

/// Returns the method of the original request; `None` if the two headers differ.
fn original_method(request: &Request) -> Option<&str> {
    match (
        trusted_header(request, FORWARDED_METHOD)?,
        trusted_header(request, ORIGINAL_METHOD)?,
    ) {
        (Some(forwarded), Some(original)) if forwarded != original => None,
        (forwarded, original) => forwarded.or(original),
    }
}

/// Whether a page of the upstream sent the request. Browsers set `Origin`, and scripts can't.
fn is_same_origin(request: &Request) -> bool {
    let origin = csrf::single(request, header::ORIGIN)
        .ok()
        .flatten()
        .and_then(WebOrigin::parse);
    origin.is_some() && origin == upstream(request)
}

/// Returns the value of a header that a proxy sets; the inner `None` means that it is absent.
///
/// The outer `None` means that the header can't be trusted: the peer isn't a trusted proxy, or the
/// header is duplicated or isn't ASCII.
fn trusted_header(request: &Request, name: HeaderName) -> Option<Option<&str>> {
    if !is_from_trusted_proxy(request) {
        return None;
    }
    csrf::single(request, name).ok()
}

fn is_from_trusted_proxy(request: &Request) -> bool {
    let config = &request
        .data::<Arc<App>>()
        .expect("the request middleware sets it")
        .config;
    client_address::is_from_trusted_proxy(request, &config.trusted_proxies.0)
}
