//! A second deployment uses the same Redis with the same key prefix.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use super::{processes, redis};
use crate::{
    guarantee::fleet::{Fleet, REPLICA_COUNT},
    test_server::{TestServer, random_secret, wait_until},
    test_stores::fresh_database,
};

/// The time from the pause of the first replica to the pause of the others, shorter than a lease.
const EARLY_PAUSE: Duration = Duration::from_millis(150);

/// Flushes Redis, and restarts the second deployment, which rebuilds the revocation log from its
/// own database. Then restarts a replica, which loads all revocations from the log.
///
/// In every second round, only the second deployment rebuilds, because the replicas are paused.
pub async fn flush(fleet: &mut Fleet, round: usize) {
    let settings = match fleet.second_deployment.take() {
        Some(server) => server.settings(),
        None => second_settings(fleet).await,
    };
    if !round.is_multiple_of(2) {
        pause_replicas(fleet, (round + 1) % REPLICA_COUNT).await;
    }
    redis::flush(fleet).await;
    let server = block_in_place(|| TestServer::launch(settings));
    wait_until("the second deployment has a log", || async {
        server.readiness().await.body["check_source"] == "memory"
    })
    .await;
    fleet.second_deployment = Some(server);
    for replica in &fleet.replicas {
        replica.server.resume();
    }
    processes::kill_replica(fleet, round).await;
}

/// Pauses all replicas. One of them is paused first, so that sign-outs on the others wait for it.
async fn pause_replicas(fleet: &Fleet, first: usize) {
    fleet.replicas[first].server.pause();
    sleep(EARLY_PAUSE).await;
    for replica in &fleet.replicas {
        replica.server.pause();
    }
}

/// Returns the settings of the replicas with another database and another master secret.
async fn second_settings(fleet: &Fleet) -> Vec<(String, String)> {
    let database = fresh_database().await;
    fleet.replicas[0].server.settings_with(&[
        ("DATABASE_URL", &database),
        ("REDIS_URL", &fleet.redis.redis.url()),
        ("LATCHKEY_SECRET", &random_secret()),
    ])
}
