//! PostgreSQL is the system of record: it stores all data that must not be lost.
//!
//! A use case acquires one `Connection` per transaction. A `Connection` has a deadline, and returns
//! to the pool only in a known state. Each statement is a file in `sql/queries/`, and each file has
//! one function in a module below.

mod applications;
mod audit;
mod batcher;
mod cleanup;
mod connect;
mod diagnosis;
mod email_changes;
mod email_outbox;
mod email_template;
mod examination;
mod explanation;
mod groups;
mod items;
mod migrations;
mod oauth_clients;
mod personal_access_tokens;
mod pools;
mod revocation_log_lock;
mod revocations;
mod sessions;
mod shared_settings;
mod sign_ups;
mod signing_keys;
mod stored_user;
mod tls;
mod token_state;
mod user_administration;
mod user_export;
mod users;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use latchkey_domain::audit::AuditEvent;
use secrecy::SecretString;
use tokio::time::timeout_at;
use tokio_postgres::{Row, error::SqlState, types::ToSql};
use uuid::Uuid;

pub use crate::postgres::cleanup::{CLEANUP_BATCH_SIZE, ExpiredRows};
pub use crate::postgres::email_changes::ConfirmedEmail;
pub use crate::postgres::email_outbox::{CodeState, DueEmail, StoredInvitation};
pub use crate::postgres::email_template::{EmailPriority, EmailTemplate};
pub use crate::postgres::oauth_clients::{NewClient, StoredClient};
pub use crate::postgres::personal_access_tokens::{
    NewPersonalAccessToken, PersonalAccessToken, PersonalAccessTokenRow,
};
pub use crate::postgres::revocation_log_lock::RebuildLock;
pub use crate::postgres::stored_user::StoredUser;
pub use crate::postgres::user_administration::{UpdatedUser, UserUpdate};
pub use crate::postgres::user_export::{ExportedEmail, ExportedSession};
pub use crate::postgres::users::{Credentials, NewUser};
pub use applications::{ApplicationChange, StoredApplication};
pub use audit::{AuditSearch, CountedEvent, StoredAuditEvent, log_event, time_of};
pub use examination::DatabaseExamination;
pub use groups::StoredGroup;
pub use items::{ItemChange, StoredItem};
pub use migrations::MigrationError;
pub use revocations::StoredRevocation;
pub use sessions::{CreatedSession, Idle, LockedSession, NewSession, SessionActivity, SessionRow};
pub use shared_settings::SharedSettings;
pub use sign_ups::ConfirmedSignUp;
pub use signing_keys::{RevokedKey, SealedKey, StoredKey};

use crate::{
    error::{Diagnosis, Error},
    postgres::{
        batcher::Batcher,
        token_state::{RevokedToken, TokenLookup},
    },
    reloadable_url::{ReloadableUrl, UrlReader},
};
use connect::{Locator, Target};
pub use diagnosis::diagnose;
use diagnosis::{PostgresTimedOut, is_missing_resource};
use items::{ItemKey, NewItem};
pub use pools::PostgresTimeouts;
use pools::{BATCH_CONNECTIONS, Pool, PooledClient};

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection pool for transactions, and batchers with their own pool for concurrent queries.
pub struct Postgres {
    pool: Pool,
    batch_pool: Pool,
    users: Batcher<Uuid, (), StoredUser>,
    items: Batcher<ItemKey, (), StoredItem>,
    new_items: Batcher<ItemKey, NewItem, StoredItem>,
    token_states: Batcher<TokenLookup, (), RevokedToken>,
    clients: Batcher<Uuid, (), StoredClient>,
    personal_access_tokens: Batcher<Uuid, (), PersonalAccessTokenRow>,
    locator: Arc<Locator>,
    timeouts: PostgresTimeouts,
}

impl Postgres {
    /// Parses the URL without connecting. Some of the connections are reserved for batchers. When
    /// the server rejects the credentials, `read_again` reads the URL again.
    ///
    /// # Errors
    /// The reason why the URL is invalid. The text never contains the URL, because it can contain a
    /// password.
    pub fn new(
        url: &SecretString,
        read_again: UrlReader,
        connections: usize,
        timeouts: PostgresTimeouts,
        name_reservation: Option<Duration>,
    ) -> Result<Postgres, String> {
        let source = ReloadableUrl::new("DATABASE_URL", url, Target::parse_secret, read_again)?;
        let locator = Arc::new(Locator::new(source, timeouts));
        let connections = connections.saturating_sub(BATCH_CONNECTIONS).max(1);
        let pool = pools::build_pool(&locator, connections, timeouts, name_reservation)?;
        let batch_pool = pools::build_batch_pool(&locator, timeouts)?;
        Ok(Postgres {
            users: users::build_batcher(&batch_pool, &pool),
            items: items::build_batcher(&batch_pool, &pool),
            new_items: items::build_insert_batcher(&batch_pool, &pool),
            token_states: token_state::build_batcher(&batch_pool, &pool),
            clients: oauth_clients::build_batcher(&batch_pool, &pool),
            personal_access_tokens: personal_access_tokens::build_batcher(&batch_pool, &pool),
            pool,
            batch_pool,
            locator,
            timeouts,
        })
    }

    /// Reads the file of the URL again, and uses another URL for the next transaction. Transactions
    /// in progress complete on their connections.
    pub fn reload_url(&self) {
        self.locator.reload_url();
    }

    /// The numbers of connections in use and of open connections, for the metrics.
    pub fn connections(&self) -> (usize, usize) {
        let (used, open) = pools::count_connections(&self.pool);
        let (batch_used, batch_open) = pools::count_connections(&self.batch_pool);
        (used + batch_used, open + batch_open)
    }

    /// Returns the cause and the fix of a statement that the server rejected in the last minute,
    /// because a resource or a right was missing.
    pub fn recent_rejection(&self) -> Option<Diagnosis> {
        self.locator.last_rejection().recent()
    }

    async fn connection(&self) -> Result<Connection, Error> {
        Connection::acquire(&self.pool, self.deadline()).await
    }

    /// The time by which a transaction that starts now must complete.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeouts.transaction
    }
}

/// A connection with a deadline, for one transaction.
///
/// After an interrupted statement (timeout, disconnected client, or server failure) the state of
/// the connection is unknown. It is then closed instead of recycled, so that the server rolls back
/// an open transaction.
struct Connection {
    object: Option<PooledClient>,
    deadline: Instant,
    /// The connection must not be recycled in its current state.
    must_close: bool,
    in_transaction: bool,
    /// Audit events of the open transaction. They are logged only after the commit.
    uncommitted_events: Vec<AuditEvent>,
}

impl Connection {
    async fn acquire(pool: &Pool, deadline: Instant) -> Result<Connection, Error> {
        let object = timeout_at(deadline.into(), pool.get())
            .await
            .map_err(|_| timeout_error())?
            .map_err(Error::unavailable)?;
        Ok(Connection {
            object: Some(object),
            deadline,
            must_close: false,
            in_transaction: false,
            uncommitted_events: Vec::new(),
        })
    }

    async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.must_close = true;
        let object = self.object.as_ref().expect("a connection until drop");
        let query = async {
            object
                .query(&object.prepare_cached(sql).await?, params)
                .await
        };
        let result = self.wait_for(query).await?;
        self.finish_statement(result).await
    }

    async fn query_first(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Executes a statement and returns the number of changed rows.
    async fn execute(&mut self, sql: &'static str, params: Params<'_>) -> Result<u64, Error> {
        self.must_close = true;
        let object = self.object.as_ref().expect("a connection until drop");
        let query = async {
            object
                .execute(&object.prepare_cached(sql).await?, params)
                .await
        };
        let result = self.wait_for(query).await?;
        self.finish_statement(result).await
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.batch_execute("begin").await?;
        self.in_transaction = true;
        self.must_close = true;
        Ok(())
    }

    /// Logs the event after the commit, or immediately outside of a transaction.
    fn log_after_commit(&mut self, event: &AuditEvent) {
        match self.in_transaction {
            true => self.uncommitted_events.push(event.clone()),
            false => audit::log_event(event),
        }
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.batch_execute("commit").await?;
        self.in_transaction = false;
        self.must_close = false;
        self.uncommitted_events
            .drain(..)
            .for_each(|event| audit::log_event(&event));
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), Error> {
        self.in_transaction = false;
        self.uncommitted_events.clear();
        self.batch_execute("rollback").await
    }

    async fn batch_execute(&mut self, sql: &'static str) -> Result<(), Error> {
        self.must_close = true;
        let object = self.object.as_ref().expect("a connection until drop");
        let result = self.wait_for(object.batch_execute(sql)).await?;
        self.report_rejection(&result);
        self.must_close = self.in_transaction || result.as_ref().is_err_and(is_broken);
        result.map_err(Error::from)
    }

    /// Waits for the response to a statement until the deadline.
    async fn wait_for<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<Result<T, tokio_postgres::Error>, Error> {
        let response = timeout_at(self.deadline.into(), statement).await;
        response.map_err(|_| {
            if let Some(pool) = self.pool() {
                pool.manager().report_timeout();
            }
            timeout_error()
        })
    }

    fn pool(&self) -> Option<Pool> {
        self.object.as_ref().and_then(PooledClient::pool)
    }

    fn report_rejection<T>(&self, result: &Result<T, tokio_postgres::Error>) {
        if let Err(error) = result
            && let Some(pool) = self.pool()
        {
            pool.manager().report_rejection(error);
        }
    }

    /// Rolls back after a failed statement. A broken connection is closed on drop instead.
    async fn finish_statement<T>(
        &mut self,
        result: Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let broken = result.as_ref().is_err_and(is_broken);
        self.report_rejection(&result);
        if result.is_err() && self.in_transaction && !broken && self.roll_back().await.is_err() {
            // The error of the statement is the cause.
            self.must_close = true;
            return result.map_err(Error::from);
        }
        self.must_close = self.in_transaction || broken;
        result.map_err(Error::from)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take().filter(|_| self.must_close) {
            drop(PooledClient::take(object));
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        let constraint = error
            .as_db_error()
            .and_then(|db_error| db_error.constraint());
        match constraint {
            Some("users_username_key") => Error::UsernameTaken,
            Some("users_email_key") => Error::EmailTaken,
            Some("groups_pkey") => Error::GroupTaken,
            Some("applications_origin") => Error::ApplicationTaken,
            // The user was deleted after the token check.
            Some("items_user_id_fkey") => Error::TokenRevoked,
            Some("users_username_or_email") => Error::invalid_field(
                "username",
                "is required because the user has no email address",
            ),
            // Another transaction has locked a row for longer than `lock_timeout`.
            _other if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::Busy,
            // The role lacks a right, until an operator grants it.
            _other if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                Error::unavailable(error)
            }
            _other if is_outage(error.code()) => Error::unavailable(error),
            _other => Error::internal(error),
        }
    }
}

/// Whether the connection is unusable, for example because its server became read-only (25006) in a
/// failover.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.as_db_error().is_none() || is_outage(error.code())
}

/// Whether the server is temporarily unavailable, so that a retry might succeed: no SQLSTATE, its
/// classes 08, 53, 57, and 58, or 25006.
fn is_outage(code: Option<&SqlState>) -> bool {
    match code {
        None => true,
        Some(code) => {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION
                || is_missing_resource(code)
                || ["08", "57"]
                    .iter()
                    .any(|class| code.code().starts_with(class))
        }
    }
}

/// Retries a transaction once on deadlock (SQLSTATE 40P01).
macro_rules! retry_on_deadlock {
    ($transaction:expr) => {
        match $transaction {
            result if $crate::postgres::is_deadlock(&result) => $transaction,
            result => result,
        }
    };
}
use retry_on_deadlock;

fn is_deadlock<T>(result: &Result<T, Error>) -> bool {
    let source = result.as_ref().err().and_then(std::error::Error::source);
    let cause = source.and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    cause.and_then(tokio_postgres::Error::code) == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

fn timeout_error() -> Error {
    Error::unavailable(PostgresTimedOut)
}
