//! Addresses for programs that start to listen later or repeatedly.
//!
//! On a shared address, another process could take a free port in the meantime.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Returns a loopback address that no other test uses, so that a free port on it stays free.
///
/// Only Linux has more than one loopback address by default.
pub fn own_host() -> IpAddr {
    static NEXT_HOST: AtomicU16 = AtomicU16::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [high, low] = NEXT_HOST.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 2, high, low).into()
}

/// Returns a free port on an unused loopback address.
pub fn own_address() -> SocketAddr {
    TcpListener::bind((own_host(), 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

/// Returns a free port of `localhost`, for a server whose issuer contains it. Browsers store cookies
/// of `localhost`, but not of other loopback addresses.
pub fn localhost_port() -> u16 {
    // Below the ports that the system chooses, so that no other program takes it meanwhile.
    static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
    let ports = std::iter::repeat_with(|| NEXT_PORT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports
        .take_while(|port| *port < 30_000)
        .find(is_free)
        .expect("a free port")
}
