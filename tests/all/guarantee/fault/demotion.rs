//! Another server of Redis becomes the primary, and connections to the deposed one stay open.

use std::{mem, sync::Arc};

use tokio::task::block_in_place;

use super::connections;
use crate::{
    guarantee::{
        fleet::{Fleet, REPLICA_COUNT},
        load::Load,
    },
    outage::OwnRedis,
    proxy::Proxy,
    test_server::wait_until,
    test_stores::redis_socket,
};

/// The number of sign-outs while both servers are primaries.
const SIGN_OUTS_WITH_TWO_PRIMARIES: usize = 30;

/// Longer than any round.
const WRITE_PAUSE_MS: &str = "300000";

/// A follower of the primary. In the next round, the two have exchanged their roles.
pub struct Follower {
    redis: OwnRedis,
    /// The addresses at which the servers replicate from each other.
    address: Proxy,
    primary_address: Proxy,
}

impl Follower {
    async fn start(primary: &OwnRedis) -> Follower {
        let redis = block_in_place(OwnRedis::start);
        let to = |redis: &OwnRedis| Proxy::to(redis_socket(&redis.redis.url()));
        let follower = Follower {
            address: to(&redis).await,
            primary_address: to(primary).await,
            redis,
        };
        announce(&follower.redis, &follower.address).await;
        announce(primary, &follower.primary_address).await;
        follow(&follower.redis, &follower.primary_address).await;
        follower
    }

    async fn wait_until_synchronized(&self) {
        wait_until("the follower is synchronized", || async {
            has_replication_line(&self.redis, "master_link_status:up").await
        })
        .await;
    }

    async fn promote(&self) {
        self.redis
            .command::<String>(&["REPLICAOF", "NO", "ONE"])
            .await;
    }
}

/// Demotes the primary, and leads new connections to the promoted server. No server accepts a write
/// after another one was promoted.
pub async fn demote(fleet: &mut Fleet, round: usize) {
    let follower = take_follower(fleet).await;
    if round.is_multiple_of(2) {
        follow(&fleet.redis, &follower.address).await;
        follower.promote().await;
    } else {
        fleet.redis.command::<String>(&["FAILOVER"]).await;
        wait_until("the follower is promoted", || async {
            has_replication_line(&follower.redis, "role:master").await
        })
        .await;
    }
    exchange_roles(fleet, follower);
}

/// Promotes the follower while the other server remains a primary. The deposed primary rejects
/// writes without a follower, or an operator has paused its writes.
pub async fn keep_two_primaries(fleet: &mut Fleet, load: &Arc<Load>, round: usize) {
    let follower = take_follower(fleet).await;
    let forbid_writes: [&[&str]; 2] = [
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CLIENT", "PAUSE", WRITE_PAUSE_MS, "WRITE"],
    ];
    fleet
        .redis
        .command::<String>(forbid_writes[round % forbid_writes.len()])
        .await;
    follower.promote().await;
    exchange_roles(fleet, follower);
    // Otherwise, all replicas could remain connected to the deposed primary.
    connections::reset(&fleet.replicas[round % REPLICA_COUNT].redis).await;
    load.wait_for_sign_outs(SIGN_OUTS_WITH_TWO_PRIMARIES).await;
    let deposed = fleet.follower.as_ref().expect("the deposed primary");
    assert!(has_replication_line(&deposed.redis, "role:master").await);
    follow(&deposed.redis, &deposed.primary_address).await;
    let allow_writes: [&[&str]; 2] = [
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
        &["CLIENT", "UNPAUSE"],
    ];
    for command in allow_writes {
        deposed.redis.command::<String>(command).await;
    }
}

/// Returns the synchronized follower, which the first round starts.
async fn take_follower(fleet: &mut Fleet) -> Follower {
    let follower = match fleet.follower.take() {
        Some(follower) => follower,
        None => Follower::start(&fleet.redis).await,
    };
    follower.wait_until_synchronized().await;
    follower
}

/// Makes the promoted server the Redis of the fleet, and leads new connections to it.
fn exchange_roles(fleet: &mut Fleet, mut follower: Follower) {
    mem::swap(&mut fleet.redis, &mut follower.redis);
    mem::swap(&mut follower.address, &mut follower.primary_address);
    fleet.follower = Some(follower);
    fleet.lead_to_redis();
}

/// Sets the address that the primary uses for `FAILOVER`, and removes the delay of replication.
async fn announce(redis: &OwnRedis, address: &Proxy) {
    let (host, port) = split_address(address);
    for (name, value) in [
        ("replica-announce-ip", host.as_str()),
        ("replica-announce-port", port.as_str()),
        ("repl-diskless-sync-delay", "0"),
    ] {
        redis
            .command::<String>(&["CONFIG", "SET", name, value])
            .await;
    }
}

async fn follow(redis: &OwnRedis, primary: &Proxy) {
    let (host, port) = split_address(primary);
    redis.command::<String>(&["REPLICAOF", &host, &port]).await;
}

fn split_address(proxy: &Proxy) -> (String, String) {
    let address = proxy.address;
    (address.ip().to_string(), address.port().to_string())
}

async fn has_replication_line(redis: &OwnRedis, line: &str) -> bool {
    let info = redis.command::<String>(&["INFO", "replication"]).await;
    info.lines().any(|found| found == line)
}
