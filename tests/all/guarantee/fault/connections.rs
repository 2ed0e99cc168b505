//! Connections between replicas and stores are slow, cut, or half open.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    guarantee::fleet::{Fleet, REPLICA_COUNT},
    proxy::{ConnectionState, Proxy},
};

/// Longer than a lease, and longer than the default timeout of Redis.
const FAULT_DURATION: Duration = Duration::from_millis(700);

/// The time in which all lost connections are closed.
const RESET_DURATION: Duration = Duration::from_millis(20);

/// Slow connections. A lease can barely be renewed with the first delay.
const SLOW_STATES: [ConnectionState; 5] = [
    ConnectionState::Late(Duration::from_millis(20)),
    ConnectionState::Silent,
    ConnectionState::Held,
    ConnectionState::Late(Duration::from_millis(45)),
    ConnectionState::Late(Duration::from_millis(200)),
];

pub async fn slow_down(fleet: &Fleet, round: usize) {
    set_temporarily(
        &select_proxies(fleet, round),
        SLOW_STATES[round % SLOW_STATES.len()],
    )
    .await;
}

pub async fn cut(fleet: &Fleet, round: usize) {
    set_temporarily(&select_proxies(fleet, round), ConnectionState::Cut).await;
}

pub async fn half_open(fleet: &Fleet, round: usize) {
    let proxies = select_proxies(fleet, round);
    proxies
        .iter()
        .for_each(|proxy| proxy.set(ConnectionState::Lost));
    sleep(FAULT_DURATION).await;
    // When the network works again, both sides find out that the connections are lost. Otherwise,
    // those of PostgreSQL would accumulate until its limit.
    set_for(&proxies, ConnectionState::Cut, RESET_DURATION).await;
}

/// Cuts the connections of one proxy. The replica connects again immediately.
pub async fn reset(proxy: &Proxy) {
    set_for(&[proxy], ConnectionState::Cut, RESET_DURATION).await;
}

/// Alternates between one and all replicas, and between Redis and PostgreSQL. Every fourth round,
/// the next replica is selected.
fn select_proxies(fleet: &Fleet, round: usize) -> Vec<&Proxy> {
    let selected = round / 4 % REPLICA_COUNT;
    let replicas = fleet
        .replicas
        .iter()
        .enumerate()
        .filter(|(index, _)| round % 2 == 1 || *index == selected);
    replicas
        .map(|(_, replica)| {
            if round % 4 < 2 {
                &replica.redis
            } else {
                &replica.postgres
            }
        })
        .collect()
}

async fn set_temporarily(proxies: &[&Proxy], state: ConnectionState) {
    set_for(proxies, state, FAULT_DURATION).await;
}

async fn set_for(proxies: &[&Proxy], state: ConnectionState, duration: Duration) {
    proxies.iter().for_each(|proxy| proxy.set(state));
    sleep(duration).await;
    proxies
        .iter()
        .for_each(|proxy| proxy.set(ConnectionState::Open));
}
