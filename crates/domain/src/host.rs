//! Host names and IP addresses of servers.

use core::net::IpAddr;

/// Returns whether the host is `localhost` or a loopback address.
///
/// Traffic to it stays on this machine, so it does not need TLS. In a URL, an IPv6 address is in
/// brackets.
pub fn is_this_machine(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_are_this_machine() {
        for local in ["localhost", "127.0.0.1", "127.2.0.9", "::1", "[::1]"] {
            assert!(is_this_machine(local), "{local}");
        }
        for remote in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "[::2]",
            "[::1",
            "",
        ] {
            assert!(!is_this_machine(remote), "{remote}");
        }
    }
}
