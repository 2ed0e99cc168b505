//! IP address and user agent of the client.
//!
//! `X-Forwarded-For` is trusted only from the configured proxies and is evaluated from right to
//! left. A client can forge every entry to the left of the first address that is not a trusted
//! proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use poem::{Addr, FromRequest, Request, RequestBody, http::header};

use crate::{app::origin::Origin, http::context::response_headers::DeferredHeaders};

/// Longer user agents are truncated.
const MAX_USER_AGENT_CHARACTERS: usize = 200;

/// Extractor of the [`Origin`] of a request.
pub struct ClientOrigin(pub Origin);

impl<'a> FromRequest<'a> for ClientOrigin {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let ClientAddress(address) = *request.data().expect("the request middleware sets it");
        let request_limits = DeferredHeaders::of(request).request_limits();
        Ok(ClientOrigin(Origin {
            address,
            agent: user_agent(request),
            request_limits,
        }))
    }
}

/// IP address of the client. The request middleware determines it once and stores it in the
/// request.
#[derive(Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Returns the address of the peer, or the address that a trusted proxy reports.
    pub fn resolve(request: &Request, trusted: &[IpNet]) -> ClientAddress {
        let (address, _) = resolve_address(peer_address(request), &forwarded_for(request), trusted);
        ClientAddress(address)
    }
}

/// Returns the number of trusted proxies that forwarded the request: the peer, and those whose IP
/// addresses are at the end of `X-Forwarded-For`. The client can't increase it.
pub fn count_trusted_hops(request: &Request, trusted: &[IpNet]) -> usize {
    let (_, hops) = resolve_address(peer_address(request), &forwarded_for(request), trusted);
    hops
}

/// Returns all entries of `X-Forwarded-For`.
fn forwarded_for(request: &Request) -> String {
    // Lossy, so that invalid bytes from the client do not hide the entries of the proxies.
    let fields = request.headers().get_all("x-forwarded-for").iter();
    let fields = fields.map(|field| String::from_utf8_lossy(field.as_bytes()));
    fields.collect::<Vec<_>>().join(",")
}

/// Whether the peer is a trusted proxy, so that its `X-Forwarded-*` headers are trusted.
pub fn is_from_trusted_proxy(request: &Request, trusted: &[IpNet]) -> bool {
    contains_address(trusted, peer_address(request))
}

fn peer_address(request: &Request) -> IpAddr {
    match &request.remote_addr().0 {
        Addr::SocketAddr(address) => address.ip(),
        Addr::Unix(_) | Addr::Custom(..) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn contains_address(networks: &[IpNet], address: IpAddr) -> bool {
    networks
        .iter()
        .any(|network| network.contains(&address.to_canonical()))
}

/// Returns the IP address of the client, and the number of trusted proxies before the server.
fn resolve_address(peer: IpAddr, forwarded: &str, trusted: &[IpNet]) -> (IpAddr, usize) {
    let (mut address, mut hops) = (peer, 0);
    let mut entries = forwarded.rsplit(',').map(str::trim);
    while contains_address(trusted, address) {
        hops += 1;
        match entries.next().and_then(parse_hop) {
            Some(hop) => address = hop,
            None => break,
        }
    }
    (address.to_canonical(), hops)
}

/// Parses an IP address with or without a port, because some proxies append the port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn user_agent(request: &Request) -> Option<String> {
    let agent = request.headers().get(header::USER_AGENT)?.to_str().ok()?;
    Some(
        agent
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_USER_AGENT_CHARACTERS)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn resolve(peer: &str, forwarded: &str, trusted: &str) -> String {
        let trusted: Vec<IpNet> = trusted
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap())
            .collect();
        let (address, _) = resolve_address(peer.parse().unwrap(), forwarded, &trusted);
        address.to_string()
    }

    #[test]
    fn trusted_hops_are_counted_up_to_client() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let count = |peer: &str, forwarded| {
            let (_, hops) = resolve_address(peer.parse().unwrap(), forwarded, &trusted);
            hops
        };
        assert_eq!(count("192.0.2.1", "10.0.0.1"), 0);
        assert_eq!(count("10.0.0.1", ""), 1);
        assert_eq!(count("10.0.0.1", "203.0.113.9"), 1);
        assert_eq!(count("10.0.0.1", "10.0.0.3, 203.0.113.9, 10.0.0.2"), 2);
        assert_eq!(count("10.0.0.1", "10.0.0.3, invalid, 10.0.0.2"), 2);
        assert_eq!(count("10.0.0.1", "10.0.0.2"), 2);
    }

    #[test]
    fn forwarded_header_is_ignored_by_default() {
        assert_eq!(resolve("192.0.2.1", "203.0.113.9", ""), "192.0.2.1");
    }

    #[test]
    fn only_trusted_proxies_can_set_client_address() {
        assert_eq!(
            resolve("10.0.0.1", "203.0.113.9", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            resolve("10.0.0.1", "1.2.3.4, 203.0.113.9", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            resolve("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            resolve("10.0.0.1", "203.0.113.9:4711", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            resolve("::ffff:10.0.0.1", "203.0.113.9", "10.0.0.0/8"),
            "203.0.113.9"
        );
    }

    #[test]
    fn invalid_bytes_keep_entries_of_proxies() {
        let field = HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap();
        // Without a socket, the peer is the loopback address.
        let request = Request::builder().header("x-forwarded-for", field).finish();
        let ClientAddress(address) =
            ClientAddress::resolve(&request, &["127.0.0.0/8".parse().unwrap()]);
        assert_eq!(address.to_string(), "203.0.113.9");
    }

    #[test]
    fn invalid_entry_ends_evaluation() {
        assert_eq!(
            resolve("10.0.0.1", "203.0.113.9, invalid", "10.0.0.0/8"),
            "10.0.0.1"
        );
        assert_eq!(resolve("10.0.0.1", "", "10.0.0.0/8"), "10.0.0.1");
    }
}
