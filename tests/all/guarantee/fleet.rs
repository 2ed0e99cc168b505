//! Three replicas, whose stores and connections can be broken.

use std::{path::PathBuf, process::Command, sync::Arc};

use futures_util::future::join_all;
use latchkey_dev::Stack;
use tokio::task::block_in_place;

use super::{
    client::Target,
    fault::{Follower, PostgresHosts},
};
use crate::{
    outage::OwnRedis,
    proxy::Proxy,
    test_server::{TestServer, binary, settings},
    test_stores::{self, STACK, fresh_database, postgres_socket, redis_socket},
    wall_clock::WallClock,
};

/// The smallest number with which two replicas still have to agree if one fails.
pub const REPLICA_COUNT: usize = 3;

const REDIS_PREFIX: &str = "lk";

/// The parts of a fleet that only some faults require.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetKind {
    /// None of them.
    Usual,
    /// A separate PostgreSQL, for faults that kill it.
    OwnPostgres,
    /// A separate PostgreSQL, and two hosts in `DATABASE_URL`.
    TwoPostgresHosts,
    /// A wall clock for each replica.
    OwnClocks,
}

/// One replica, its wall clock, and the proxies of its connections.
pub struct Replica {
    pub server: TestServer,
    pub redis: Proxy,
    pub postgres: Proxy,
    pub clock: Option<WallClock>,
}

/// The replicas and their stores, which stop when this value is dropped.
pub struct Fleet {
    // Declared before the stores, because fields are dropped in this order.
    pub replicas: Vec<Replica>,
    /// A server with another database and another master secret.
    pub second_deployment: Option<TestServer>,
    pub redis: OwnRedis,
    /// The follower of Redis, after the first round of a fault that requires it.
    pub follower: Option<Follower>,
    /// A separate PostgreSQL.
    pub own_stack: Option<Stack>,
    /// The hosts in `DATABASE_URL`, if there are two.
    pub postgres_hosts: Option<PostgresHosts>,
    /// The URL of the database without a proxy.
    pub database: String,
    pub targets: Arc<[Target]>,
}

impl Fleet {
    /// Starts three replicas with these settings.
    pub async fn start(kind: FleetKind, changes: &[(&str, &str)]) -> Fleet {
        let (own_stack, database) = match kind {
            FleetKind::Usual | FleetKind::OwnClocks => (None, fresh_database().await),
            FleetKind::OwnPostgres | FleetKind::TwoPostgresHosts => {
                let (stack, database) = block_in_place(test_stores::own_stack);
                (Some(stack), database)
            }
        };
        let postgres_hosts = match &own_stack {
            Some(stack) if kind == FleetKind::TwoPostgresHosts => {
                Some(PostgresHosts::of(&stack.postgres).await)
            }
            _one_host => None,
        };
        let redis = block_in_place(OwnRedis::start);
        let targets = (0..REPLICA_COUNT).map(|_| Target::default()).collect();
        let mut fleet = Fleet {
            replicas: Vec::new(),
            second_deployment: None,
            redis,
            follower: None,
            own_stack,
            postgres_hosts,
            database,
            targets,
        };
        let mut common = settings(&fleet.database, &fleet.redis.redis.url(), REDIS_PREFIX);
        common.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        for _ in 0..REPLICA_COUNT {
            let clock = (kind == FleetKind::OwnClocks).then(WallClock::new);
            let replica = fleet.launch_replica(&common, clock).await;
            fleet.replicas.push(replica);
        }
        fleet.wait_until_ready().await;
        fleet
    }

    /// Launches a replica whose connections to the stores lead through proxies.
    async fn launch_replica(
        &self,
        common: &[(String, String)],
        clock: Option<WallClock>,
    ) -> Replica {
        let redis = Proxy::to(self.redis_socket()).await;
        let postgres = Proxy::to(self.postgres_socket()).await;
        let database_url = match &self.postgres_hosts {
            Some(hosts) => hosts.url(&self.database),
            None => postgres.postgres_url(&self.database),
        };
        let urls = [
            ("REDIS_URL", redis.redis_url()),
            ("DATABASE_URL", database_url),
        ];
        let mut settings = common.to_vec();
        settings.extend(urls.map(|(name, value)| (name.to_owned(), value)));
        settings.extend(clock.iter().flat_map(WallClock::variables));
        Replica {
            server: block_in_place(|| TestServer::launch(settings)),
            redis,
            postgres,
            clock,
        }
    }

    /// Waits until all replicas are ready, and updates the ports of the targets.
    pub async fn wait_until_ready(&self) {
        join_all(
            self.replicas
                .iter()
                .map(|replica| replica.server.wait_until_ready()),
        )
        .await;
        for (replica, target) in self.replicas.iter().zip(self.targets.iter()) {
            target.set_port(replica.server.address.port());
        }
    }

    /// Launches a replica again with the same settings, without waiting until it is ready.
    pub fn relaunch(&mut self, replica: usize) {
        self.relaunch_with(replica, Command::new(binary()));
    }

    /// Like [`Fleet::relaunch`], with a command that starts the binary in another way.
    pub fn relaunch_with(&mut self, replica: usize, command: Command) {
        let server = &mut self.replicas[replica].server;
        *server = block_in_place(|| TestServer::launch_with(command, server.settings()));
    }

    /// Leads new connections of all replicas to the current Redis. Existing ones stay open.
    pub fn lead_to_redis(&self) {
        let socket = self.redis_socket();
        self.replicas
            .iter()
            .for_each(|replica| replica.redis.lead_to(socket.clone()));
    }

    /// Returns the socket of the current Redis.
    pub fn redis_socket(&self) -> PathBuf {
        redis_socket(&self.redis.redis.url())
    }

    /// Returns the log lines of all replicas above the level INFO.
    fn log_warnings(&self) -> Vec<String> {
        let lines = self
            .replicas
            .iter()
            .flat_map(|replica| replica.server.log());
        lines.filter(|line| !line.contains("\"INFO\"")).collect()
    }

    fn postgres_socket(&self) -> PathBuf {
        let own_redis = self.own_stack.as_ref().map(|stack| stack.redis.url());
        postgres_socket(&own_redis.unwrap_or_else(|| STACK.redis_url()))
    }
}

impl Drop for Fleet {
    /// Prints the warnings of a failed test.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log_warnings().join("\n"));
        }
    }
}
