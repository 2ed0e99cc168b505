//! Where a request came from. `X-Forwarded-For` is believed only from proxies that the operator
//! trusts, and read from the right: what stands left of the last untrusted address was written by
//! whoever wanted to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use poem::{Addr, FromRequest, Request, RequestBody, http::header};

use crate::{app::Origin, http::middleware::response_headers::DeferredHeaders};

/// The longest agent that is kept, in characters.
const AGENT_CHARACTERS: usize = 200;

/// An [`Origin`] that a handler takes.
pub struct ClientOrigin(pub Origin);

impl<'a> FromRequest<'a> for ClientOrigin {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let ClientAddress(address) = *request.data().expect("the edge sets it");
        let request_limits = DeferredHeaders::of(request).request_limits();
        Ok(ClientOrigin(Origin {
            address,
            agent: agent(request),
            request_limits,
        }))
    }
}

/// The client's address, found out once by the edge and kept with the request.
#[derive(Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Who sent the request: the peer, or whom a trusted proxy names.
    pub fn of(request: &Request, trusted: &[IpNet]) -> ClientAddress {
        // Whatever a client wrote in front, readable or not, what the proxy appended is read.
        let fields = request.headers().get_all("x-forwarded-for").iter();
        let forwarded = fields.map(|field| String::from_utf8_lossy(field.as_bytes()));
        ClientAddress(client(
            peer(request),
            &forwarded.collect::<Vec<_>>().join(","),
            trusted,
        ))
    }
}

/// Whether whoever sent the request may say of it what only a proxy knows.
pub fn is_from_trusted_proxy(request: &Request, trusted: &[IpNet]) -> bool {
    is_among(trusted, peer(request))
}

fn peer(request: &Request) -> IpAddr {
    match &request.remote_addr().0 {
        Addr::SocketAddr(address) => address.ip(),
        Addr::Unix(_) | Addr::Custom(..) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn is_among(networks: &[IpNet], address: IpAddr) -> bool {
    networks
        .iter()
        .any(|network| network.contains(&address.to_canonical()))
}

fn client(peer: IpAddr, forwarded: &str, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer;
    for hop in forwarded.rsplit(',').map(str::trim) {
        if !is_among(trusted, address) {
            break;
        }
        match parse(hop) {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address.to_canonical()
}

/// An address, with or without a port: some proxies add one.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn agent(request: &Request) -> Option<String> {
    let agent = request.headers().get(header::USER_AGENT)?.to_str().ok()?;
    Some(
        agent
            .chars()
            .filter(|c| !c.is_control())
            .take(AGENT_CHARACTERS)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &str, trusted: &str) -> String {
        let trusted: Vec<IpNet> = trusted
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap())
            .collect();
        client(peer.parse().unwrap(), forwarded, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(seen("192.0.2.1", "203.0.113.9", ""), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client_and_the_client_cannot() {
        assert_eq!(seen("10.0.0.1", "203.0.113.9", "10.0.0.0/8"), "203.0.113.9");
        assert_eq!(
            seen("10.0.0.1", "1.2.3.4, 203.0.113.9", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            seen("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            seen("10.0.0.1", "203.0.113.9:4711", "10.0.0.0/8"),
            "203.0.113.9"
        );
        assert_eq!(
            seen("::ffff:10.0.0.1", "203.0.113.9", "10.0.0.0/8"),
            "203.0.113.9"
        );
    }

    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        let field = HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap();
        // Without a socket the peer is this machine.
        let request = Request::builder().header("x-forwarded-for", field).finish();
        let ClientAddress(address) = ClientAddress::of(&request, &["127.0.0.0/8".parse().unwrap()]);
        assert_eq!(address.to_string(), "203.0.113.9");
    }

    #[test]
    fn nonsense_stops_the_walk() {
        assert_eq!(
            seen("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.0/8"),
            "10.0.0.1"
        );
        assert_eq!(seen("10.0.0.1", "", "10.0.0.0/8"), "10.0.0.1");
    }
}
