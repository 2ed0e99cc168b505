//! Redis fails over to a follower that lacks the last writes.

use std::{mem, sync::Arc};

use tokio::task::block_in_place;

use crate::{
    guarantee::{fleet::Fleet, load::Load},
    outage::OwnRedis,
    proxy::{ConnectionState, Proxy},
    test_server::wait_until,
};

/// The number of sign-outs that the follower does not replicate.
const LOST_SIGN_OUTS: usize = 10;

/// Lets a follower lag, kills the primary, promotes the follower, and redirects all connections.
pub async fn fail_over(fleet: &mut Fleet, load: &Arc<Load>) {
    let follower = block_in_place(OwnRedis::start);
    let replication = Proxy::to(fleet.redis_socket()).await;
    start_replication(&fleet.redis, &follower, &replication).await;
    replication.set(ConnectionState::Silent);
    load.wait_for_sign_outs(LOST_SIGN_OUTS).await;
    let mut old_primary = mem::replace(&mut fleet.redis, follower);
    block_in_place(|| old_primary.redis.kill());
    fleet
        .redis
        .command::<String>(&["REPLICAOF", "NO", "ONE"])
        .await;
    fleet.lead_to_redis();
}

/// Starts replication through a proxy, and waits until the follower is synchronized.
async fn start_replication(primary: &OwnRedis, follower: &OwnRedis, proxy: &Proxy) {
    primary
        .command::<String>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])
        .await;
    let (host, port) = (
        proxy.address.ip().to_string(),
        proxy.address.port().to_string(),
    );
    follower
        .command::<String>(&["REPLICAOF", &host, &port])
        .await;
    let is_synchronized = || async {
        follower
            .command::<String>(&["INFO", "replication"])
            .await
            .contains("master_link_status:up")
    };
    wait_until("the follower is synchronized", is_synchronized).await;
}
