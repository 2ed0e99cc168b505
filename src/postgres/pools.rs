//! Connections to the record: those that stories take, and those of the lanes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics, Pool, QueueMode,
    RecyclingMethod,
};
use futures_util::future::FutureExt;

use super::{Connection, tls};
use crate::{
    error::Error,
    postgres::batcher::{BatchFuture, Batcher},
};

/// Lanes of each kind of questions: so many callers do not wait for each other at all, as through a
/// pool.
const LANES: usize = 4;

/// Connections of all lanes. One that gathers needs one, however many callers there are, so they
/// rarely wait.
pub(super) const LANE_CONNECTIONS: usize = 8;

/// A statement takes a fraction of a millisecond. One that takes longer waits for the disk or for a
/// lock, and those who come meanwhile need not.
const CONNECTION_WAIT: Duration = Duration::from_millis(5);

/// Most rows of one statement: beyond it they do not get cheaper.
const MAX_CONNECTIONS: usize = 64;

/// What part of its time a statement of a lane waits for a lock that somebody holds. Whoever needs
/// that row waits on a connection of its own, and those behind it go on.
const LOCK_PART: u32 = 20;

/// Plans of lanes are made once, and maybe while a table is small or its statistics are old:
/// whatever is in it later, rows are looked up by their keys.
const BY_KEY: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
    set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off;";

/// How to reach the server.
pub(super) struct Address {
    pub settings: tokio_postgres::Config,
    pub tls: tls::Connector,
}

impl Address {
    /// Connections for stories.
    pub fn connections(&self, connections: usize, timeout: Duration) -> Result<Pool, String> {
        self.pool(connections, limit(timeout))
    }

    /// Connections for the lanes.
    pub fn batch_connections(&self, timeout: Duration) -> Result<Pool, String> {
        let lock_limit = (timeout / LOCK_PART).as_millis().max(1);
        self.pool(
            LANE_CONNECTIONS,
            format!(
                "{}; set lock_timeout = {lock_limit}; {BY_KEY}",
                limit(timeout)
            ),
        )
    }

    /// Whose connections begin with these statements. Not startup options: PgBouncer refuses them.
    fn pool(&self, connections: usize, session: String) -> Result<Pool, String> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.settings.clone(), self.tls.clone(), recycling);
        let set = Hook::async_fn(move |client: &mut ClientWrapper, _: &Metrics| {
            let session = session.clone();
            Box::pin(async move {
                client
                    .batch_execute(&session)
                    .await
                    .map_err(HookError::Backend)
            })
        });
        // The one that was used last comes first: its server process is warm, and few callers need
        // few of them.
        let pool = Pool::builder(manager)
            .max_size(connections)
            .queue_mode(QueueMode::Lifo)
            .post_create(set);
        pool.build().map_err(|_| "cannot be pooled".to_owned())
    }
}

/// A statement whose caller is gone must not go on for ever on the server, nor a transaction that
/// the server does not see the end of, because the line was lost: it would hold its rows for as
/// long. No story takes longer than this.
fn limit(timeout: Duration) -> String {
    let limit = timeout.as_millis();
    format!("set statement_timeout = {limit}; set idle_in_transaction_session_timeout = {limit}")
}

/// Connections in use and open.
pub(super) fn count(pool: &Pool) -> (usize, usize) {
    let status = pool.status();
    (status.size - status.available.min(status.size), status.size)
}

/// Gathers questions for this statement: on lanes, and apart from them over connections of stories.
pub(super) fn batcher<K, Q, A, F>(
    batch_connections: &Pool,
    connections: &Pool,
    statement: impl Fn(Connection, BTreeMap<K, Q>) -> F + Copy + Send + Sync + 'static,
) -> Batcher<K, Q, A>
where
    K: Ord + Copy + Send + 'static,
    Q: Clone + Send + 'static,
    A: Clone + Send + 'static,
    F: Future<Output = Result<BTreeMap<K, A>, Error>> + Send,
{
    Batcher::new(
        LANES,
        MAX_CONNECTIONS,
        CONNECTION_WAIT,
        over(batch_connections, statement),
        over(connections, statement),
    )
}

fn over<K, Q, A, F>(
    pool: &Pool,
    statement: impl Fn(Connection, BTreeMap<K, Q>) -> F + Copy + Send + Sync + 'static,
) -> impl Fn(BTreeMap<K, Q>, Instant) -> BatchFuture<K, A> + Send + Sync + 'static
where
    K: Send + 'static,
    Q: Send + 'static,
    F: Future<Output = Result<BTreeMap<K, A>, Error>> + Send,
{
    let pool = pool.clone();
    move |questions, deadline| {
        let pool = pool.clone();
        async move { statement(Connection::take(&pool, deadline).await?, questions).await }.boxed()
    }
}
