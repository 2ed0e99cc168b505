//! The original request of a check, and its protection against cross-site request forgery.
//!
//! The fields about the original request are read only from `LATCHKEY_TRUSTED_PROXIES`. A
//! duplicate field, or fields that contradict each other, are errors for every credential, because
//! the client might have sent one of them.
//!
//! A page of any site can make a browser send the session cookie. With a cookie, only safe requests
//! and requests with the `Origin` of the upstream are therefore allowed. A request counts as unsafe
//! if information is missing. The header that `csrf` requires can't be required here, because
//! applications behind a proxy don't send it.

use std::sync::Arc;

use ipnet::IpNet;
use latchkey_domain::{
    original_request::{OriginalRequest, OriginalRequestFields},
    web_origin::WebOriginRef,
};
use poem::{
    Request,
    http::{HeaderName, HeaderValue, header},
};

use crate::{
    app::App,
    error::Error,
    http::{auth::csrf, context::client_address},
};

const FORWARDED_METHOD: (HeaderName, &str) = field("x-forwarded-method", "X-Forwarded-Method");
const ORIGINAL_METHOD: (HeaderName, &str) = field("x-original-method", "X-Original-Method");
const FORWARDED_PROTO: (HeaderName, &str) = field("x-forwarded-proto", "X-Forwarded-Proto");
const FORWARDED_HOST: (HeaderName, &str) = field("x-forwarded-host", "X-Forwarded-Host");
const FORWARDED_URI: (HeaderName, &str) = field("x-forwarded-uri", "X-Forwarded-Uri");
const ORIGINAL_URL: (HeaderName, &str) = field("x-original-url", "X-Original-URL");

const DUPLICATE: &str = "is duplicated; the proxy must replace the field of the client, and send \
    one";

const UNTRUSTED_PEER: &str = "With a session cookie, the check must come from a trusted proxy. \
    Add the IP address of the proxy to `LATCHKEY_TRUSTED_PROXIES`.";

const METHOD_REQUIRED: &str = "With a session cookie, the proxy must send the method of the \
    original request in `X-Forwarded-Method`.";

const HOST_REQUIRED: &str = "With a session cookie, the proxy must send the scheme and the host of \
    the original request in `X-Forwarded-Proto` and `X-Forwarded-Host`.";

pub const ORIGIN_REQUIRED: &str = "With a session cookie, a request that changes state or opens a \
    WebSocket must have an `Origin` with the scheme and the host of the application.";

/// Safe methods (RFC 9110 section 9.2.1). Names of methods are case-sensitive.
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// A field name, as headers are compared and as errors contain it.
const fn field(name: &'static str, label: &'static str) -> (HeaderName, &'static str) {
    (HeaderName::from_static(name), label)
}

/// Reads the original request. It has no parts if the check isn't from a trusted proxy.
///
/// # Errors
/// `invalid_request` if a trusted proxy sent a field twice, or contradictory fields.
pub fn read(request: &Request) -> Result<OriginalRequest<'_>, Error> {
    read_from(request, trusted_proxies(request))
}

fn read_from<'a>(request: &'a Request, trusted: &[IpNet]) -> Result<OriginalRequest<'a>, Error> {
    if !client_address::is_from_trusted_proxy(request, trusted) {
        return Ok(OriginalRequest::default());
    }
    let fields = OriginalRequestFields {
        forwarded_method: single_field(request, FORWARDED_METHOD)?,
        original_method: single_field(request, ORIGINAL_METHOD)?,
        forwarded_proto: single_field(request, FORWARDED_PROTO)?,
        forwarded_host: single_field(request, FORWARDED_HOST)?,
        forwarded_uri: single_field(request, FORWARDED_URI)?,
        original_url: single_field(request, ORIGINAL_URL)?,
    };
    let hops = || client_address::count_trusted_hops(request, trusted);
    OriginalRequest::read(fields, hops)
        .map_err(|invalid| Error::invalid_field(invalid.field, invalid.reason))
}

/// Returns the value of a field. It can contain any bytes, because some are from the client.
fn single_field<'a>(
    request: &'a Request,
    (name, label): (HeaderName, &'static str),
) -> Result<Option<&'a [u8]>, Error> {
    let mut values = request.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Error::invalid_field(label, DUPLICATE)),
        (value, _) => Ok(value.map(HeaderValue::as_bytes)),
    }
}

/// Rejects a check by cookie if another site might have caused the original request.
pub fn check(request: &Request, original: &OriginalRequest) -> Result<(), Error> {
    if is_safe(request, original) || is_same_origin(request, original) {
        Ok(())
    } else {
        Err(Error::Csrf(find_cause(request, original)))
    }
}

/// Returns why the check is rejected. Without the fields of the proxy, the `Origin` isn't the
/// cause.
fn find_cause(request: &Request, original: &OriginalRequest) -> &'static str {
    match () {
        () if !client_address::is_from_trusted_proxy(request, trusted_proxies(request)) => {
            UNTRUSTED_PEER
        }
        () if original.method.is_none() => METHOD_REQUIRED,
        () if original.origin.is_none() => HOST_REQUIRED,
        () => ORIGIN_REQUIRED,
    }
}

/// Returns the origin of the upstream, for an identity assertion.
///
/// The original method is required, because only a forward authentication check contains it. Any
/// other request might be from a client that chose the `Host` header itself, and a load balancer
/// forwarded it.
pub fn assertion_upstream<'a>(original: &OriginalRequest<'a>) -> Option<WebOriginRef<'a>> {
    original.method.and(original.origin)
}

/// Whether the original request is known to be safe.
///
/// The method of the check counts as well, because some proxies send the original method there.
fn is_safe(request: &Request, original: &OriginalRequest) -> bool {
    let is_safe_method = |method: &str| SAFE_METHODS.contains(&method);
    is_safe_method(request.method().as_str())
        && !is_websocket_upgrade(request)
        && original.method.is_some_and(is_safe_method)
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

/// Whether a page of the upstream sent the request. Browsers set `Origin`, and scripts can't.
fn is_same_origin(request: &Request, original: &OriginalRequest) -> bool {
    let origin = csrf::single(request, header::ORIGIN)
        .ok()
        .flatten()
        .and_then(WebOriginRef::parse);
    origin.is_some() && origin == original.origin
}

fn trusted_proxies(request: &Request) -> &[IpNet] {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    &app.config.trusted_proxies.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: &str = "203.0.113.9";

    /// What a proxy does with a field of the request that it forwards.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Policy {
        Replace,
        Append,
    }

    impl Policy {
        fn forward(self, field: &str, entry: &str) -> String {
            match self {
                Policy::Append if !field.is_empty() => format!("{field}, {entry}"),
                Policy::Append | Policy::Replace => entry.to_owned(),
            }
        }
    }

    fn policy() -> impl Strategy<Value = Policy> {
        prop_oneof![1 => Just(Policy::Replace), 3 => Just(Policy::Append)]
    }

    /// A field that a client plants.
    fn planted(entry: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(entry, 0..5).prop_map(|entries| entries.join(","))
    }

    /// Returns the check that the last proxy sends. The proxies have the IP addresses 127.0.0.1
    /// (the last), 127.0.0.2, and so on, and each has its own name for the host.
    fn forwarded(proxies: &[[Policy; 2]], addresses: &str, hosts: &str) -> Request {
        let (mut addresses, mut hosts) = (addresses.to_owned(), hosts.to_owned());
        let mut peer = CLIENT.to_owned();
        for (index, [address_policy, host_policy]) in proxies.iter().enumerate() {
            addresses = address_policy.forward(&addresses, &peer);
            hosts = host_policy.forward(&hosts, &format!("proxy-{index}"));
            peer = format!("127.0.0.{}", proxies.len() - index);
        }
        // Without a socket, the peer is the loopback address.
        Request::builder()
            .header("x-forwarded-for", addresses)
            .header("x-forwarded-host", hosts)
            .header("x-forwarded-proto", "https")
            .finish()
    }

    fn host(request: &Request) -> String {
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        let origin = read_from(request, &trusted).unwrap().origin.unwrap();
        let origin = origin.to_web_origin().as_str().to_owned();
        origin.strip_prefix("https://").unwrap().to_owned()
    }

    proptest! {
        #[test]
        fn planted_entry_is_never_read(
            proxies in proptest::collection::vec([policy(), policy()], 1..5),
            addresses in planted("127\\.0\\.0\\.[1-5]|203\\.0\\.113\\.9|x|"),
            hosts in planted("evil|app|"),
        ) {
            let host = host(&forwarded(&proxies, &addresses, &hosts));
            prop_assert!(host.starts_with("proxy-"), "{}", host);
        }

        /// If no later proxy replaces the fields, the entry of the outermost proxy is read.
        #[test]
        fn entry_of_outermost_proxy_is_read(
            outermost in [policy(), policy()],
            later in 0..4_usize,
            addresses in planted("127\\.0\\.0\\.[1-5]|203\\.0\\.113\\.9|x|"),
            hosts in planted("evil|app|"),
        ) {
            let later = std::iter::repeat_n([Policy::Append; 2], later);
            let proxies: Vec<_> = std::iter::once(outermost).chain(later).collect();
            prop_assert_eq!(host(&forwarded(&proxies, &addresses, &hosts)), "proxy-0");
        }
    }

    #[test]
    fn fields_of_untrusted_peer_are_ignored() {
        let request = Request::builder()
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-method", "POST")
            .header("x-original-url", "nonsense")
            .finish();
        let original = read_from(&request, &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(original.unwrap(), OriginalRequest::default());
    }
}
