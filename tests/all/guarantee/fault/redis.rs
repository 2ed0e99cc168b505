//! Redis is killed, paused, or loses data.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use crate::{guarantee::fleet::Fleet, test_stores::redis_prefix};

/// Kills Redis, which restarts empty: immediately, or after all leases expired.
pub async fn kill(fleet: &mut Fleet, round: usize) {
    block_in_place(|| fleet.redis.redis.kill());
    sleep(Duration::from_millis(300 * (round % 3) as u64)).await;
    block_in_place(|| fleet.redis.redis.restart().expect("Redis starts"));
}

/// Pauses Redis for less or for more than a lease.
pub async fn pause(fleet: &Fleet, round: usize) {
    let time = 200 + 400 * (round % 4) as u64;
    fleet
        .redis
        .command::<String>(&["CLIENT", "PAUSE", &time.to_string(), "ALL"])
        .await;
    sleep(Duration::from_millis(time)).await;
}

pub async fn flush(fleet: &Fleet) {
    fleet.redis.command::<String>(&["FLUSHALL"]).await;
}

/// Deletes a key of the revocation log.
pub async fn delete_key(fleet: &Fleet, key: &str) {
    let prefix = redis_prefix(&fleet.replicas[0].server).await;
    let key = format!("{prefix}:{{rev}}:{key}");
    let deleted = fleet.redis.command::<i64>(&["DEL", &key]).await;
    assert_eq!(deleted, 1, "the key existed");
}
