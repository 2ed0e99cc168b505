//! Redis dies, stands still or forgets.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use crate::guarantee::fleet::{Fleet, PREFIX};

/// Without a file it comes back empty: at once, or when all leases have run out.
pub async fn kill(fleet: &mut Fleet, round: usize) {
    block_in_place(|| fleet.redis.redis.kill());
    sleep(Duration::from_millis(300 * (round % 3) as u64)).await;
    block_in_place(|| fleet.redis.redis.start_again().expect("it can be started"));
}

/// For less than a lease, or for more.
pub async fn pause(fleet: &Fleet, round: usize) {
    let time = 200 + 400 * (round % 4) as u64;
    fleet
        .redis
        .tell::<String>(&["CLIENT", "PAUSE", &time.to_string(), "ALL"])
        .await;
    sleep(Duration::from_millis(time)).await;
}

pub async fn flush(fleet: &Fleet) {
    fleet.redis.tell::<String>(&["FLUSHALL"]).await;
}

/// One key of what is revoked.
pub async fn lose(fleet: &Fleet, key: &str) {
    assert_eq!(
        fleet
            .redis
            .tell::<i64>(&["DEL", &format!("{PREFIX}:{{rev}}:{key}")])
            .await,
        1,
        "there was none"
    );
}
