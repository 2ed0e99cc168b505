//! The original request of a check, and its protection against cross-site request forgery.
//!
//! The headers about the original request are read only from `LATCHKEY_TRUSTED_PROXIES`. A repeated
//! or contradictory header is an error for every credential, because the client might have sent one
//! of the two values, and another application might have another requirement.
//!
//! A page of any site can make a browser send a cookie. With a cookie, only safe requests and
//! requests with the `Origin` of the application are therefore allowed. A request counts as unsafe
//! if information is missing. The header that `csrf` requires can't be required here, because
//! applications behind a proxy don't send it.

use std::sync::Arc;

use latchkey_domain::{return_to, web_origin::WebOrigin};
use poem::{
    Request,
    http::{HeaderMap, header},
};

use crate::{
    app::App,
    error::Error,
    http::{auth::csrf, context::client_address},
};

const FORWARDED_METHOD: &str = "X-Forwarded-Method";
const ORIGINAL_METHOD: &str = "X-Original-Method";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";
const FORWARDED_URI: &str = "X-Forwarded-Uri";
const ORIGINAL_URL: &str = "X-Original-URL";

const UNTRUSTED_PEER: &str = "With a cookie, the check must come from a trusted proxy. Add the IP \
    address of the proxy to `LATCHKEY_TRUSTED_PROXIES`.";

const METHOD_REQUIRED: &str = "With a cookie, the proxy must send the method of the original \
    request in `X-Forwarded-Method` or `X-Original-Method`.";

const HOST_REQUIRED: &str = "With a cookie, the proxy must send the scheme and the host of the \
    original request in `X-Forwarded-Proto` and `X-Forwarded-Host`, or its URL in \
    `X-Original-URL`.";

pub const ORIGIN_REQUIRED: &str = "With a cookie, a request that changes state or opens a \
    WebSocket must have an `Origin` with the scheme and the host of the application.";

/// Safe methods (RFC 9110 section 9.2.1). Names of methods are case-sensitive.
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The original request, as a trusted proxy describes it. A missing part is unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OriginalRequest<'a> {
    pub method: Option<&'a str>,
    /// The scheme, the host, and the port.
    pub origin: Option<WebOrigin>,
    /// The path and query, if a browser can return to them.
    pub uri: Option<&'a str>,
    is_from_trusted_proxy: bool,
}

impl<'a> OriginalRequest<'a> {
    /// Reads the headers of a trusted proxy. Those of another peer are ignored.
    ///
    /// # Errors
    /// `invalid_request` if a header is repeated, or contradicts another one.
    pub fn read(request: &'a Request) -> Result<OriginalRequest<'a>, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let trusted = &app.config.trusted_proxies.0;
        if !client_address::is_from_trusted_proxy(request, trusted) {
            return Ok(OriginalRequest::default());
        }
        let hops = || client_address::forwarded_hops(request, trusted);
        OriginalRequest::from_headers(request.headers(), hops)
    }

    /// Reads the headers. `hops` returns the number of proxies that `X-Forwarded-For` contains.
    fn from_headers(
        headers: &'a HeaderMap,
        hops: impl Fn() -> usize,
    ) -> Result<OriginalRequest<'a>, Error> {
        let once = |name| read_once(headers, name);
        let forwarded = |name| match once(name)? {
            Some(list) => from_right(list, name, &hops).map(Some),
            None => Ok(None),
        };
        let url = match once(ORIGINAL_URL)? {
            Some(url) => split_url(url)?,
            None => Url::default(),
        };
        let scheme = agree(
            (FORWARDED_PROTO, forwarded(FORWARDED_PROTO)?),
            (ORIGINAL_URL, url.scheme),
            |one, other| http_scheme(one) == http_scheme(other),
        )?;
        let host = agree(
            (FORWARDED_HOST, forwarded(FORWARDED_HOST)?),
            (ORIGINAL_URL, url.host),
            |one, other| is_same_host(scheme, one, other),
        )?;
        let uri = agree(
            (FORWARDED_URI, once(FORWARDED_URI)?),
            (ORIGINAL_URL, url.uri),
            |one, other| one == other,
        )?;
        let method = agree(
            (FORWARDED_METHOD, once(FORWARDED_METHOD)?),
            (ORIGINAL_METHOD, once(ORIGINAL_METHOD)?),
            |one, other| one == other,
        )?;
        let origin = scheme
            .zip(host)
            .and_then(|(scheme, host)| WebOrigin::new(http_scheme(scheme), host));
        Ok(OriginalRequest {
            method,
            origin,
            uri: uri.filter(|uri| is_path(uri)),
            is_from_trusted_proxy: true,
        })
    }

    /// Returns the origin of the application, for an identity assertion.
    ///
    /// The method is required, because only a forward authentication check contains it. Any other
    /// request might be from a client that chose the `Host` header itself, and a load balancer
    /// forwarded it.
    pub fn assertion_upstream(&self) -> Option<&WebOrigin> {
        self.method.and(self.origin.as_ref())
    }

    /// Rejects a check by cookie if another site might have caused the original request.
    ///
    /// # Errors
    /// `csrf`.
    pub fn require_same_site(&self, request: &Request) -> Result<(), Error> {
        if self.is_safe(request) || self.is_same_origin(request) {
            Ok(())
        } else {
            Err(Error::Csrf(self.find_cause()))
        }
    }

    /// Returns why the check is rejected. Without the headers of the proxy, the `Origin` isn't the
    /// cause.
    fn find_cause(&self) -> &'static str {
        match () {
            () if !self.is_from_trusted_proxy => UNTRUSTED_PEER,
            () if self.method.is_none() => METHOD_REQUIRED,
            () if self.origin.is_none() => HOST_REQUIRED,
            () => ORIGIN_REQUIRED,
        }
    }

    /// Whether the original request is known to be safe.
    ///
    /// The method of the check counts as well, because some proxies send the original method there.
    fn is_safe(&self, request: &Request) -> bool {
        let is_safe_method = |method: &str| SAFE_METHODS.contains(&method);
        is_safe_method(request.method().as_str())
            && !is_websocket_upgrade(request)
            && self.method.is_some_and(is_safe_method)
    }

    /// Whether a page of the application sent the request. Browsers set `Origin`, and scripts can't.
    fn is_same_origin(&self, request: &Request) -> bool {
        let origin = csrf::single(request, header::ORIGIN)
            .ok()
            .flatten()
            .and_then(WebOrigin::parse);
        origin.is_some() && origin == self.origin
    }
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

/// Reads a header that a proxy sets at most once. An empty one counts as absent.
fn read_once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Error> {
    let mut fields = headers.get_all(name).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        let reason = "is repeated; let the proxy replace the header of the client";
        return Err(Error::invalid_field(name, reason));
    }
    let text = first.map(|field| field.to_str()).transpose();
    let text = text.map_err(|_| Error::invalid_field(name, "must contain only ASCII"))?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// Returns the value that two headers agree on; each can be absent.
fn agree<'a>(
    (first_name, first): (&'static str, Option<&'a str>),
    (second_name, second): (&'static str, Option<&'a str>),
    is_same: impl Fn(&str, &str) -> bool,
) -> Result<Option<&'a str>, Error> {
    match (first, second) {
        (Some(one), Some(other)) if !is_same(one, other) => {
            let reason = format!(
                "contradicts `{second_name}`; let the proxy set one of them, and remove the other"
            );
            Err(Error::invalid_field(first_name, reason))
        }
        (first, second) => Ok(first.or(second)),
    }
}

/// Returns the entry of a list that the outermost trusted proxy has appended.
///
/// Each proxy appends an entry, as it does to `X-Forwarded-For`, so the entry is as far from the
/// right as the address of the client. The client can forge every entry to the left of it. A single
/// entry was set by a proxy that replaces the header.
fn from_right<'a>(
    list: &'a str,
    name: &'static str,
    hops: impl Fn() -> usize,
) -> Result<&'a str, Error> {
    if !list.contains(',') {
        return Ok(list.trim());
    }
    let entry = list.rsplit(',').nth(hops().max(1) - 1).map(str::trim);
    entry.filter(|entry| !entry.is_empty()).ok_or_else(|| {
        let reason = "has fewer entries than `X-Forwarded-For`; let each proxy append to both, or \
            replace both";
        Error::invalid_field(name, reason)
    })
}

/// The parts of the original URL; each is absent if it is empty.
#[derive(Default)]
struct Url<'a> {
    scheme: Option<&'a str>,
    /// The host, with the port if it is explicit.
    host: Option<&'a str>,
    /// The path and query.
    uri: Option<&'a str>,
}

fn split_url(url: &str) -> Result<Url<'_>, Error> {
    let split = || {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, uri) = rest.split_at(end);
        WebOrigin::new(http_scheme(scheme), host)?;
        Some(Url {
            scheme: Some(scheme),
            host: Some(host),
            uri: Some(uri).filter(|uri| !uri.is_empty()),
        })
    };
    split().ok_or_else(|| Error::invalid_field(ORIGINAL_URL, "must be an absolute HTTP URL"))
}

/// Returns the scheme of the HTTP request that opens a WebSocket (RFC 6455 section 3).
fn http_scheme(scheme: &str) -> &str {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("wss") => "https",
        _ if scheme.eq_ignore_ascii_case("ws") => "http",
        _ if scheme.eq_ignore_ascii_case("https") => "https",
        _ if scheme.eq_ignore_ascii_case("http") => "http",
        other => other,
    }
}

fn is_same_host(scheme: Option<&str>, one: &str, other: &str) -> bool {
    let scheme = http_scheme(scheme.unwrap_or("https"));
    let origin = WebOrigin::new(scheme, one);
    origin.is_some() && origin == WebOrigin::new(scheme, other)
}

/// Whether a browser can return to the path and query (RFC 9112 section 3.2.1). A text that begins
/// with `//` would name another host in some contexts.
fn is_path(uri: &str) -> bool {
    uri.starts_with('/')
        && !uri.starts_with("//")
        && uri.len() <= return_to::MAX_LENGTH
        && uri
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
#[path = "original_tests.rs"]
mod tests;
