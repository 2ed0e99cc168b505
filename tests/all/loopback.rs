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
