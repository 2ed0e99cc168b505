//! Logout means logout, at the speed of memory: leases, the log that they follow, and what happens
//! when it is lost, cannot be trusted, or holds something that nobody knows.

mod enforcement;
mod lease; // the lease and the log
mod losing_log; // a Redis that cannot be relied on
mod scripts; // what each script does alone, and refuses // what a revocation waits for

use std::{collections::HashMap, time::Duration};

use deadpool_redis::redis::{FromRedisValue, aio::MultiplexedConnection, cmd};

use crate::{
    metrics::value,
    test_server::{TestServer, until},
    test_stores::connect_redis,
};

/// On a busy machine no lease is over before anybody looks.
pub const LONG: (&str, &str) = ("LATCHKEY_LEASE", "3s");
const LONG_LEASE: Duration = Duration::from_secs(3);

/// Who answered this replica's checks so far: memory, Redis, PostgreSQL, nobody.
async fn answered_by(server: &TestServer) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for (count, by) in counts
        .iter_mut()
        .zip(["memory", "redis", "postgres", "unavailable"])
    {
        *count = value(server, &format!("latchkey_checks_total{{source=\"{by}\"}}")).await;
    }
    counts
}

/// How many revocations had taken effect in this way.
async fn effects(server: &TestServer, by: &str) -> f64 {
    value(
        server,
        &format!("latchkey_revocation_enforcement_seconds_count{{completion=\"{by}\"}}"),
    )
    .await
}

/// What `/health/ready` says of who answers checks.
async fn checks(server: &TestServer) -> String {
    server.get("/health/ready").await.text("check_source")
}

async fn until_checks_are_by(server: &TestServer, who: &str) {
    until(who, || async { checks(server).await == who }).await;
}

/// The Redis of a gateway, for whoever looks behind its back.
struct Behind {
    connection: MultiplexedConnection,
    prefix: String,
}

impl Behind {
    async fn of(server: &TestServer) -> Behind {
        Behind {
            connection: connect_redis(server.setting("REDIS_URL")).await,
            prefix: server.setting("LATCHKEY_REDIS_PREFIX").to_owned(),
        }
    }

    /// A command; `{}` in its words stands for what the keys of the log begin with.
    async fn tell<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let rev = format!("{}:{{rev}}", self.prefix);
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(word.replace("{}", &rev));
        }
        command
            .query_async(&mut self.connection.clone())
            .await
            .expect("it obeys")
    }

    /// The members, as they stand in the state.
    async fn members(&self) -> Vec<String> {
        let fields: Vec<String> = self.tell(&["HKEYS", "{}:state"]).await;
        fields
            .into_iter()
            .filter(|field| field.starts_with("member:"))
            .collect()
    }

    /// What stands there of each of them, which changes whenever it renews its lease.
    async fn states(&self) -> Vec<String> {
        let fields: HashMap<String, String> = self.tell(&["HGETALL", "{}:state"]).await;
        fields
            .into_iter()
            .filter(|(field, _)| field.starts_with("member:"))
            .map(|(field, state)| field + &state)
            .collect()
    }

    async fn epoch(&self) -> Option<String> {
        self.tell(&["HGET", "{}:state", "epoch_id"]).await
    }
}
