//! Processes that stand still or die.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use crate::guarantee::fleet::{Fleet, REPLICAS};

/// Longer than any lease, by a varying length: whoever wakes up must not go on as if nothing had
/// been.
pub async fn stop_a_replica(fleet: &mut Fleet, round: usize) {
    let server = &fleet.replicas[round % REPLICAS].server;
    server.pause();
    sleep(Duration::from_millis(1000 + 250 * (round % 5) as u64)).await;
    server.resume();
}

pub async fn kill_a_replica(fleet: &mut Fleet, round: usize) {
    let replica = round % REPLICAS;
    fleet.replicas[replica].server.kill();
    fleet.launch_again(replica);
    fleet.until_ready().await;
}

pub async fn restart_everything(fleet: &mut Fleet) {
    block_in_place(|| {
        fleet
            .replicas
            .iter_mut()
            .for_each(|replica| replica.server.kill());
        fleet.redis.redis.kill();
        let postgres = &mut fleet
            .own
            .as_mut()
            .expect("it has a PostgreSQL of its own")
            .postgres;
        postgres.kill();
        postgres.start_again().expect("it can be started");
        fleet.redis.redis.start_again().expect("it can be started");
    });
    (0..REPLICAS).for_each(|replica| fleet.launch_again(replica));
    fleet.until_ready().await;
}
