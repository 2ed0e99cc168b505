//! What a proxy says of the request that it asks about, and whether another site may have caused
//! that.
//!
//! Only the proxies in `LATCHKEY_TRUSTED_PROXIES` are believed, and only fields that are there
//! once: of two, one may be the client's. A page of any site can make a browser send its cookie
//! along; with a cookie alone passes what changes nothing, and everything else wants the `Origin`
//! of the upstream itself. What is not known counts as unsafe. (The header of our own that `csrf`
//! wants cannot be asked for here: applications that know nothing of us send no such thing.)

use std::sync::Arc;

use latchkey_domain::web_origin::WebOrigin;
use poem::{
    Request,
    http::{HeaderName, header},
};

use crate::{
    app::Gateway,
    error::Error,
    http::{auth::csrf, middleware::client_address},
};

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const OTHER_APPLICATION: &str = "With a session cookie, a request that changes state must have \
    the `Origin` of the application, and a trusted proxy must forward it.";

/// Methods that change nothing (RFC 9110 section 9.2.1), as they are written: methods have a case.
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// Refuses what came by cookie and may have been caused by another site.
pub fn check(request: &Request) -> Result<(), Error> {
    if is_safe(request) || is_same_origin(request) {
        Ok(())
    } else {
        Err(Error::Csrf(OTHER_APPLICATION))
    }
}

/// Scheme and host that the client asked for, if a trusted proxy says so.
pub fn upstream(request: &Request) -> Option<WebOrigin> {
    let (scheme, host) = (
        trusted_header(request, FORWARDED_PROTO)?,
        trusted_header(request, FORWARDED_HOST)?,
    );
    WebOrigin::new(scheme?, host?)
}

/// The same for whom an assertion is to be: only where a proxy asks, which says what the original
/// method was. A balancer in front of us hands on what anybody asks with any `Host`.
pub fn asserted_upstream(request: &Request) -> Option<WebOrigin> {
    method(request).and_then(|_| upstream(request))
}

/// Whether it is known to change nothing. Its own method counts as well: some proxies ask with that
/// of the original.
fn is_safe(request: &Request) -> bool {
    let is_safe = |method: &str| SAFE.contains(&method);
    is_safe(request.method().as_str())
        && !is_websocket_upgrade(request)
        && method(request).is_some_and(is_safe)
}

/// A WebSocket begins with a GET, and then carries whatever the page wants, with the cookie's
/// rights (RFC 6455 section 10.2). Proxies may keep `Upgrade` to themselves, but not these fields,
/// which no page can set or leave out.
fn is_websocket_upgrade(request: &Request) -> bool {
    let fields = [
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
    ];
    fields
        .into_iter()
        .any(|name| request.headers().contains_key(name))
}

/// The method of the original request; nothing where two fields disagree.
fn method(request: &Request) -> Option<&str> {
    match (
        trusted_header(request, FORWARDED_METHOD)?,
        trusted_header(request, ORIGINAL_METHOD)?,
    ) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => one.or(other),
    }
}

/// Whether a page of the upstream itself sent it: browsers say which page it was, and no script can
/// say otherwise.
fn is_same_origin(request: &Request) -> bool {
    let page = csrf::single(request, header::ORIGIN)
        .ok()
        .flatten()
        .and_then(WebOrigin::parse);
    page.is_some() && page == upstream(request)
}

/// What a trusted proxy says in this field, if anything; nothing at all where nobody is to be
/// believed.
fn trusted_header(request: &Request, name: HeaderName) -> Option<Option<&str>> {
    let config = request
        .data::<Arc<Gateway>>()
        .expect("the edge sets it")
        .config();
    if !client_address::is_from_trusted_proxy(request, &config.trusted_proxies.0) {
        return None;
    }
    csrf::single(request, name).ok()
}
