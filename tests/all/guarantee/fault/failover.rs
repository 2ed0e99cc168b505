//! Redis fails over to a server that has not heard the last of it.

use std::{mem, sync::Arc};

use tokio::task::block_in_place;

use crate::{
    guarantee::{fleet::Fleet, load::Load},
    outage::OwnRedis,
    proxy::{Line, Proxy},
    test_server::until,
};

/// Logouts that the successor does not hear of.
const UNHEARD: usize = 10;

/// A successor follows, then lags; the leader is killed, the successor promoted, and all lines lead
/// to it.
pub async fn fail_over(fleet: &mut Fleet, load: &Arc<Load>) {
    let successor = block_in_place(OwnRedis::start);
    let line = Proxy::to(fleet.redis_socket()).await;
    follow(&fleet.redis, &successor, &line).await;
    line.set(Line::Silent);
    load.advances(UNHEARD).await;
    let mut deposed = mem::replace(&mut fleet.redis, successor);
    block_in_place(|| deposed.redis.kill());
    fleet
        .redis
        .tell::<String>(&["REPLICAOF", "NO", "ONE"])
        .await;
    let socket = fleet.redis_socket();
    fleet
        .replicas
        .iter()
        .for_each(|replica| replica.redis.lead_to(socket.clone()));
}

/// Until the successor has all that the leader has.
async fn follow(leader: &OwnRedis, successor: &OwnRedis, line: &Proxy) {
    leader
        .tell::<String>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])
        .await;
    let (host, port) = (
        line.address.ip().to_string(),
        line.address.port().to_string(),
    );
    successor.tell::<String>(&["REPLICAOF", &host, &port]).await;
    let follows = || async {
        successor
            .tell::<String>(&["INFO", "replication"])
            .await
            .contains("master_link_status:up")
    };
    until("it follows", follows).await;
}
