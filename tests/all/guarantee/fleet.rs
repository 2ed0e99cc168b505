//! Three replicas on stores that may be broken, each reaching them over lines of its own.

use std::{path::PathBuf, sync::Arc};

use futures_util::future::join_all;
use latchkey_dev::Stack;
use tokio::task::block_in_place;

use super::client::Target;
use crate::{
    outage::OwnRedis,
    proxy::Proxy,
    test_server::{TestServer, settings},
    test_stores::{STACK, fresh_database, own_stack, postgres_socket, redis_socket},
};

/// The fewest of which one can be broken while two others must agree.
pub const REPLICAS: usize = 3;

/// The prefix of keys in Redis.
pub const PREFIX: &str = "lk";

/// One replica and its lines.
pub struct Replica {
    pub server: TestServer,
    pub redis: Proxy,
    pub postgres: Proxy,
}

/// They end with this value.
pub struct Fleet {
    // Declared before the stores, because fields are dropped in this order.
    pub replicas: Vec<Replica>,
    pub redis: OwnRedis,
    /// A PostgreSQL of its own, where that is to be killed, too.
    pub own: Option<Stack>,
    /// The record, past all lines.
    pub database: String,
    /// Where the replicas listen.
    pub targets: Arc<[Target]>,
}

impl Fleet {
    /// With the PostgreSQL of all tests, or with one of its own, and with these settings.
    pub async fn start(own_postgres: bool, changes: &[(&str, &str)]) -> Fleet {
        let (own, database) = if own_postgres {
            let (stack, database) = block_in_place(own_stack);
            (Some(stack), database)
        } else {
            (None, fresh_database().await)
        };
        let redis = block_in_place(OwnRedis::start);
        let targets = (0..REPLICAS).map(|_| Target::default()).collect();
        let mut fleet = Fleet {
            replicas: Vec::new(),
            redis,
            own,
            database,
            targets,
        };
        let mut common = settings(&fleet.database, &fleet.redis.redis.url(), PREFIX);
        common.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        for _ in 0..REPLICAS {
            let replica = fleet.replica(&common).await;
            fleet.replicas.push(replica);
        }
        fleet.until_ready().await;
        fleet
    }

    /// Another one, whose lines end where those settings lead.
    async fn replica(&self, common: &[(String, String)]) -> Replica {
        let redis = Proxy::to(self.redis_socket()).await;
        let postgres = Proxy::to(self.postgres_socket()).await;
        let lines = [
            ("REDIS_URL", redis.redis_url()),
            ("DATABASE_URL", postgres.postgres_url(&self.database)),
        ];
        let mut settings = common.to_vec();
        settings.extend(lines.map(|(name, value)| (name.to_owned(), value)));
        Replica {
            server: block_in_place(|| TestServer::launch(settings)),
            redis,
            postgres,
        }
    }

    /// All of them, which may have been launched anew.
    pub async fn until_ready(&self) {
        join_all(
            self.replicas
                .iter()
                .map(|replica| replica.server.until_ready()),
        )
        .await;
        for (replica, target) in self.replicas.iter().zip(self.targets.iter()) {
            target.moved_to(replica.server.address.port());
        }
    }

    /// Launches one anew, with the settings that it had; it is not ready yet.
    pub fn launch_again(&mut self, replica: usize) {
        let server = &mut self.replicas[replica].server;
        *server = block_in_place(|| TestServer::launch(server.settings()));
    }

    /// Where the Redis of this moment listens.
    pub fn redis_socket(&self) -> PathBuf {
        redis_socket(&self.redis.redis.url())
    }

    /// What the replicas complained of.
    fn complaints(&self) -> Vec<String> {
        let lines = self
            .replicas
            .iter()
            .flat_map(|replica| replica.server.log());
        lines.filter(|line| !line.contains("\"INFO\"")).collect()
    }

    fn postgres_socket(&self) -> PathBuf {
        let own = self.own.as_ref().map(|own| own.redis.url());
        postgres_socket(&own.unwrap_or_else(|| STACK.redis_url()))
    }
}

/// Whoever looks for the reason of a failure wants to know.
impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.complaints().join("\n"));
        }
    }
}
