//! Addresses for programs that listen later, or again: by then a port that was free may be somebody
//! else's.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// A loopback address that no other test of this run has, so that a free port on it stays free.
/// Only Linux has more than one.
pub fn own_host() -> IpAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [high, low] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 2, high, low).into()
}

/// A free port on one.
pub fn own_address() -> SocketAddr {
    TcpListener::bind((own_host(), 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}
