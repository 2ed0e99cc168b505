//! `DATABASE_URL` names two hosts, and the primary of PostgreSQL hangs.

use latchkey_dev::{Postgres, Stack, Standby};
use tokio::task::block_in_place;

use crate::{guarantee::fleet::Fleet, proxy::Proxy, test_server::wait_until, test_stores::connect};

/// The hosts in `DATABASE_URL`, and the promoted standbys.
pub struct PostgresHosts {
    proxies: [Proxy; 2],
    /// The index of the primary's host.
    primary_host: usize,
    /// The primary, after the deposed primary if that was a standby as well.
    promoted: Vec<Standby>,
}

impl PostgresHosts {
    /// Returns two hosts, of which the first one is this primary. The other one has no server yet.
    pub async fn of(primary: &Postgres) -> PostgresHosts {
        let socket = primary.socket();
        let missing = socket.with_file_name("missing");
        PostgresHosts {
            proxies: [Proxy::to(socket).await, Proxy::to(missing).await],
            primary_host: 0,
            promoted: Vec::new(),
        }
    }

    /// Returns the URL of a database with both hosts.
    pub fn url(&self, database: &str) -> String {
        let (_, name) = database.rsplit_once('/').expect("a URL with a database");
        let [first, second] = self.proxies.each_ref().map(|proxy| proxy.address);
        format!("postgres://latchkey@{first},{second}/{name}")
    }

    /// Kills the deposed primary, which must not resume.
    fn kill_deposed(&mut self, stack: &mut Stack) {
        match self.promoted.len() {
            0 => {}
            1 => stack.postgres.kill(),
            _more => self.promoted.remove(0).postgres.kill(),
        }
    }

    fn primary<'a>(&'a self, stack: &'a Stack) -> &'a Postgres {
        let promoted = self.promoted.last();
        promoted.map_or(&stack.postgres, |standby| &standby.postgres)
    }
}

/// Starts a synchronous standby on the other host, stops the primary with SIGSTOP, and promotes the
/// standby. The deposed primary hangs until the next round.
pub async fn hang_primary(fleet: &mut Fleet) {
    let hosts = fleet.postgres_hosts.as_mut().expect("two hosts");
    let stack = fleet.own_stack.as_mut().expect("a separate PostgreSQL");
    block_in_place(|| hosts.kill_deposed(stack));
    let primary = hosts.primary(stack);
    let standby = block_in_place(|| Standby::start(primary).expect("a standby"));
    let standby_host = 1 - hosts.primary_host;
    hosts.proxies[standby_host].lead_to(standby.postgres.socket());
    replicate_synchronously(primary).await;
    primary.pause();
    block_in_place(|| standby.postgres.promote().expect("a promotion"));
    hosts.promoted.push(standby);
    hosts.primary_host = standby_host;
}

/// Makes each commit wait for the standby, so that a failover loses none. The standby was copied
/// before, so it doesn't wait for another one after its promotion.
async fn replicate_synchronously(primary: &Postgres) {
    let client = connect(&primary.url("postgres")).await;
    for statement in [
        "alter system set synchronous_standby_names = '*'",
        "select pg_reload_conf()",
    ] {
        client
            .batch_execute(statement)
            .await
            .expect("a valid statement");
    }
    let standbys = "select from pg_stat_replication where sync_state = 'sync'";
    wait_until("the standby is synchronous", || async {
        let rows = client.query(standbys, &[]).await.expect("a valid query");
        rows.len() == 1
    })
    .await;
}
