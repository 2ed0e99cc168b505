//! The origin of a request: client network, user agent, and the rate limits that it counts against.

pub mod request_limits;

use std::net::IpAddr;

use crate::app::origin::request_limits::RequestLimits;

/// The origin of a request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's IP address. Behind a trusted proxy, it is the address that the proxy reports.
    pub address: IpAddr,
    /// The client's `User-Agent`, shortened and printable.
    pub agent: Option<String>,
    /// The rate limits that the request counts against, for the headers of its response.
    pub request_limits: RequestLimits,
}

impl Origin {
    /// The network that counts as one client: an IPv4 address, or the /64 of an IPv6 address,
    /// because a subscriber usually gets a whole /64.
    pub fn network(&self) -> String {
        network_of(self.address)
    }
}

/// The network of an address, see [`Origin::network`].
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> String {
        Origin {
            address: address.parse().unwrap(),
            agent: None,
            request_limits: RequestLimits::default(),
        }
        .network()
    }

    #[test]
    fn subscriber_is_one_network() {
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
    }
}
