//! Processes are paused, killed, or restarted.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use crate::guarantee::fleet::{Fleet, REPLICA_COUNT};

/// Pauses a replica for longer than a lease. When it resumes, it must not rely on its old lease.
pub async fn pause_replica(fleet: &mut Fleet, round: usize) {
    let server = &fleet.replicas[round % REPLICA_COUNT].server;
    server.pause();
    sleep(Duration::from_millis(1000 + 250 * (round % 5) as u64)).await;
    server.resume();
}

pub async fn kill_replica(fleet: &mut Fleet, round: usize) {
    let replica = round % REPLICA_COUNT;
    fleet.replicas[replica].server.kill();
    fleet.relaunch(replica);
    fleet.wait_until_ready().await;
}

pub async fn restart_everything(fleet: &mut Fleet) {
    block_in_place(|| {
        fleet
            .replicas
            .iter_mut()
            .for_each(|replica| replica.server.kill());
        fleet.redis.redis.kill();
        let postgres = &mut fleet
            .own_stack
            .as_mut()
            .expect("a separate PostgreSQL")
            .postgres;
        postgres.kill();
        postgres.restart().expect("PostgreSQL starts");
        fleet.redis.redis.restart().expect("Redis starts");
    });
    (0..REPLICA_COUNT).for_each(|replica| fleet.relaunch(replica));
    fleet.wait_until_ready().await;
}
