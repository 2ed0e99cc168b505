//! Tests of immediate revocation: the lease, the revocation log, and the rebuild of a lost log.

mod enforcement; // wait until all replicas enforce a revocation
mod identity_changes; // cached personal access tokens
mod lease; // the lease and the revocation log
mod losing_log; // lost, unreliable, or incompatible logs
mod previous_layout; // replicas with other keys, and deployments with the same prefix
mod scripts; // the Lua scripts of the log

use std::{collections::HashMap, time::Duration};

use deadpool_redis::redis::{FromRedisValue, aio::MultiplexedConnection, cmd};

use crate::{
    metrics::value,
    test_server::{TestServer, wait_until},
    test_stores::{connect_redis, redis_prefix},
};

/// A lease that doesn't expire on a busy machine before the test has checked it.
pub const LONG: (&str, &str) = ("LATCHKEY_LEASE", "3s");
const LONG_LEASE: Duration = Duration::from_secs(3);

/// Returns the number of checks by source: memory, Redis, PostgreSQL, and unavailable.
async fn count_checks(server: &TestServer) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for (count, source) in counts
        .iter_mut()
        .zip(["memory", "redis", "postgres", "unavailable"])
    {
        *count = value(
            server,
            &format!("latchkey_checks_total{{source=\"{source}\"}}"),
        )
        .await;
    }
    counts
}

/// Returns the number of enforced revocations with this completion.
async fn count_enforced(server: &TestServer, completion: &str) -> f64 {
    value(
        server,
        &format!("latchkey_revocation_enforcement_seconds_count{{completion=\"{completion}\"}}"),
    )
    .await
}

/// Returns the check source that `/health/ready` reports.
async fn check_source(server: &TestServer) -> String {
    server.readiness().await.text("check_source")
}

async fn wait_for_check_source(server: &TestServer, source: &str) {
    wait_until(source, || async { check_source(server).await == source }).await;
}

/// Direct access to the revocation log of a server in Redis.
struct LogAccess {
    connection: MultiplexedConnection,
    prefix: String,
}

impl LogAccess {
    async fn of(server: &TestServer) -> LogAccess {
        LogAccess {
            connection: connect_redis(server.setting("REDIS_URL")).await,
            prefix: redis_prefix(server).await,
        }
    }

    /// Runs a command, in whose arguments `{}` stands for the key prefix of the log.
    async fn run<T: FromRedisValue>(&self, arguments: &[&str]) -> T {
        let key_prefix = format!("{}:{{rev}}", self.prefix);
        let mut command = cmd(arguments[0]);
        for argument in &arguments[1..] {
            command.arg(argument.replace("{}", &key_prefix));
        }
        command
            .query_async(&mut self.connection.clone())
            .await
            .expect("Redis accepts the command")
    }

    /// Returns the fields of the members in the state of the log.
    async fn members(&self) -> Vec<String> {
        let fields: Vec<String> = self.run(&["HKEYS", "{}:state"]).await;
        fields
            .into_iter()
            .filter(|field| field.starts_with("member:"))
            .collect()
    }

    /// Returns the fields of the members with their values, which change with each lease renewal.
    async fn member_states(&self) -> Vec<String> {
        let fields: HashMap<String, String> = self.run(&["HGETALL", "{}:state"]).await;
        fields
            .into_iter()
            .filter(|(field, _)| field.starts_with("member:"))
            .map(|(field, state)| field + &state)
            .collect()
    }

    async fn epoch(&self) -> Option<String> {
        self.run(&["HGET", "{}:state", "epoch_id"]).await
    }
}
