//! Host names and IP addresses of servers.

use core::net::IpAddr;

/// Returns whether the host is `localhost` or a loopback address.
///
/// Traffic to it stays on this machine, so it does not need TLS.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_are_this_machine() {
        for local in ["localhost", "127.0.0.1", "127.2.0.9", "::1"] {
            assert!(is_this_machine(local), "{local}");
        }
        for remote in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "[::1]",
            "",
        ] {
            assert!(!is_this_machine(remote), "{remote}");
        }
    }
}
