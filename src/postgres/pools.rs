//! Connection pools: one for transactions, one for batches.

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

/// Concurrent statements of a batcher. Up to this number of callers never wait for each other.
const SLOTS_PER_BATCHER: usize = 4;

/// Connections that all batchers share. Batching needs one connection, however many callers there
/// are, so slots rarely wait for one.
pub(super) const BATCH_CONNECTIONS: usize = 8;

/// Duration after which a statement counts as slow, so that another slot starts batching. A
/// statement takes a fraction of a millisecond unless it waits for the disk or for a lock.
const SLOW_STATEMENT_THRESHOLD: Duration = Duration::from_millis(5);

/// Maximum number of keys per statement. Larger batches don't reduce the cost per row.
const MAX_BATCH_SIZE: usize = 64;

/// The lock timeout of a batch is the statement timeout divided by this number. After it, each
/// caller repeats its own query, so a locked row delays only the callers that need it.
const LOCK_TIMEOUT_DIVISOR: u32 = 20;

/// Session settings that force index lookups in batches. Prepared plans are cached, and a plan that
/// was made for a small table or with old statistics might otherwise scan the table.
const FORCE_INDEX_LOOKUPS: &str = "set plan_cache_mode = force_generic_plan; \
    set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; \
    set enable_mergejoin = off;";

/// The parsed `DATABASE_URL`, and the TLS connector for it.
pub(super) struct ConnectionSettings {
    pub config: tokio_postgres::Config,
    pub tls: tls::Connector,
}

impl ConnectionSettings {
    /// Builds the pool for transactions.
    pub fn build_pool(&self, connections: usize, timeout: Duration) -> Result<Pool, String> {
        self.build(connections, timeout_settings(timeout))
    }

    /// Builds the pool for batches.
    pub fn build_batch_pool(&self, timeout: Duration) -> Result<Pool, String> {
        let lock_timeout = (timeout / LOCK_TIMEOUT_DIVISOR).as_millis().max(1);
        self.build(
            BATCH_CONNECTIONS,
            format!(
                "{}; set lock_timeout = {lock_timeout}; {FORCE_INDEX_LOOKUPS}",
                timeout_settings(timeout)
            ),
        )
    }

    /// Builds a pool whose new connections run these session settings. PgBouncer rejects them as
    /// startup options.
    fn build(&self, connections: usize, session_settings: String) -> Result<Pool, String> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), recycling);
        let configure = Hook::async_fn(move |client: &mut ClientWrapper, _: &Metrics| {
            let session_settings = session_settings.clone();
            Box::pin(async move {
                client
                    .batch_execute(&session_settings)
                    .await
                    .map_err(HookError::Backend)
            })
        });
        // LIFO: the most recently used connection has a warm server process, and a small load opens
        // few connections.
        let pool = Pool::builder(manager)
            .max_size(connections)
            .queue_mode(QueueMode::Lifo)
            .post_create(configure);
        pool.build().map_err(|_| "cannot be pooled".to_owned())
    }
}

/// Returns session settings that limit statements and idle transactions.
///
/// A statement of a disconnected caller must not run forever. If the network connection is lost
/// during a transaction, the server must roll it back and release its locks. No transaction of this
/// program takes longer than the timeout.
fn timeout_settings(timeout: Duration) -> String {
    let timeout = timeout.as_millis();
    format!(
        "set statement_timeout = {timeout}; set idle_in_transaction_session_timeout = {timeout}"
    )
}

/// Returns the numbers of connections in use and of open connections.
pub(super) fn count_connections(pool: &Pool) -> (usize, usize) {
    let status = pool.status();
    (status.size - status.available.min(status.size), status.size)
}

/// Builds a batcher that runs batches on `batch_pool`, and single-key fallbacks on `pool`.
pub(super) fn build_batcher<K, I, R, F>(
    batch_pool: &Pool,
    pool: &Pool,
    statement: impl Fn(Connection, BTreeMap<K, I>) -> F + Copy + Send + Sync + 'static,
) -> Batcher<K, I, R>
where
    K: Ord + Copy + Send + 'static,
    I: Clone + Send + 'static,
    R: Clone + Send + 'static,
    F: Future<Output = Result<BTreeMap<K, R>, Error>> + Send,
{
    Batcher::new(
        SLOTS_PER_BATCHER,
        MAX_BATCH_SIZE,
        SLOW_STATEMENT_THRESHOLD,
        run_on(batch_pool, statement),
        run_on(pool, statement),
    )
}

fn run_on<K, I, R, F>(
    pool: &Pool,
    statement: impl Fn(Connection, BTreeMap<K, I>) -> F + Copy + Send + Sync + 'static,
) -> impl Fn(BTreeMap<K, I>, Instant) -> BatchFuture<K, R> + Send + Sync + 'static
where
    K: Send + 'static,
    I: Send + 'static,
    F: Future<Output = Result<BTreeMap<K, R>, Error>> + Send,
{
    let pool = pool.clone();
    move |inputs, deadline| {
        let pool = pool.clone();
        async move { statement(Connection::acquire(&pool, deadline).await?, inputs).await }.boxed()
    }
}
