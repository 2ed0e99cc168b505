//! Connection pools: one for transactions, one for batches.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool::managed::{self, QueueMode};
use futures_util::future::FutureExt;

use super::{
    Connection,
    batcher::{BatchFuture, Batcher},
    connect::{Connector, Locator},
};
use crate::error::Error;

pub(super) type Pool = managed::Pool<Connector>;
pub(super) type PooledClient = managed::Object<Connector>;

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

/// Settings of every session, because the server, the database, or the role can have other
/// defaults.
///
/// - The statements are written for the isolation level `read committed`, in which a statement that
///   has waited for a lock reads the new row. Other levels report a serialization failure instead.
/// - The tables are in the schema `public`. A table with the same name in another schema would receive
///   revocations that other replicas don't read.
/// - A commit must be on disk before the client receives a response. `remote_apply` waits longer
///   and is kept; all other levels are weaker.
pub(super) const SESSION_SETTINGS: &str = "set default_transaction_isolation = 'read committed'; \
    set default_transaction_deferrable = off; set timezone = 'UTC'; \
    set search_path = public, pg_temp; \
    select set_config('synchronous_commit', 'on', false) \
    where current_setting('synchronous_commit') not in ('on', 'remote_apply');";

/// The timeouts of connections.
#[derive(Debug, Clone, Copy)]
pub struct PostgresTimeouts {
    /// The timeout of a transaction, including the wait for a connection.
    pub transaction: Duration,
    /// The timeout of an attempt to connect, which continues when a transaction stops waiting for
    /// it.
    pub connect: Duration,
}

/// Builds the pool for transactions. A name that a user releases stays reserved for
/// `name_reservation`, by a trigger that reads the session setting. Without it, the trigger has a
/// default.
pub(super) fn build_pool(
    locator: &Arc<Locator>,
    connections: usize,
    timeouts: PostgresTimeouts,
    name_reservation: Option<Duration>,
) -> Result<Pool, String> {
    let mut settings = session_settings(timeouts.transaction);
    if let Some(reservation) = name_reservation {
        let seconds = reservation.as_secs();
        settings += &format!(" set latchkey.name_reservation = '{seconds} seconds';");
    }
    build(locator, connections, settings)
}

/// Builds the pool for batches.
pub(super) fn build_batch_pool(
    locator: &Arc<Locator>,
    timeouts: PostgresTimeouts,
) -> Result<Pool, String> {
    let lock_timeout = timeouts.transaction / LOCK_TIMEOUT_DIVISOR;
    let settings = format!(
        "{} set lock_timeout = {}; {FORCE_INDEX_LOOKUPS}",
        session_settings(timeouts.transaction),
        lock_timeout.as_millis().max(1),
    );
    build(locator, BATCH_CONNECTIONS, settings)
}

/// Builds a pool whose new connections run these session settings. PgBouncer rejects them as
/// startup options.
fn build(locator: &Arc<Locator>, connections: usize, settings: String) -> Result<Pool, String> {
    // LIFO: the most recently used connection has a warm server process, and a small load opens few
    // connections.
    Pool::builder(Connector::new(locator.clone(), settings))
        .max_size(connections)
        .queue_mode(QueueMode::Lifo)
        .build()
        .map_err(|_| "cannot be pooled".to_owned())
}

/// Returns the settings of a session.
///
/// A statement of a disconnected caller must not run forever. If the network connection is lost
/// during a transaction, the server must roll it back and release its locks. No transaction of this
/// program takes longer than the timeout.
fn session_settings(timeout: Duration) -> String {
    let timeout = timeout.as_millis();
    format!(
        "{SESSION_SETTINGS} set lock_timeout = 0; set statement_timeout = {timeout}; \
         set idle_in_transaction_session_timeout = {timeout};"
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
