//! Names of hosts.

use core::net::IpAddr;

/// Whether it is this machine for everybody: what is sent there, nobody reads on the way.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_look_like_it_are_of_others() {
        for here in ["localhost", "127.0.0.1", "127.2.0.9", "::1"] {
            assert!(is_this_machine(here), "{here}");
        }
        for elsewhere in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "[::1]",
            "",
        ] {
            assert!(!is_this_machine(elsewhere), "{elsewhere}");
        }
    }
}
