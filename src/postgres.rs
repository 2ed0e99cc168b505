//! The record: PostgreSQL holds everything that must not be lost.
//!
//! A story takes one `Connection`, which has a deadline and never comes back to the pool in a
//! doubtful state. Each statement is a file in `sql/queries/`, each file has one function in a
//! module below.

mod audit;
mod batcher;
mod cleanup;
mod email_changes;
mod email_outbox;
mod explanation;
mod items;
mod migrations;
mod oauth_clients;
mod personal_access_tokens;
mod pools;
mod revocation_log_lock;
mod revocations;
mod sessions;
mod signing_keys;
mod tls;
mod token_state;
mod user_administration;
mod users;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool};
use tokio::time::timeout_at;
use tokio_postgres::{Row, config::TargetSessionAttrs, error::SqlState, types::ToSql};
use uuid::Uuid;

pub use crate::postgres::cleanup::{BATCH, ExpiredRows};
pub use crate::postgres::email_changes::ConfirmedEmail;
pub use crate::postgres::email_outbox::{CodeState, DueEmail, EmailTemplate};
pub use crate::postgres::oauth_clients::{NewClient, StoredClient};
pub use crate::postgres::personal_access_tokens::{
    NewPersonalAccessToken, PersonalAccessToken, PersonalAccessTokenRow,
};
pub use crate::postgres::revocation_log_lock::RebuildLock;
pub use crate::postgres::user_administration::Changed;
pub use crate::postgres::users::{Credentials, NewUser, StoredUser};
pub use audit::{CountedEvent, StoredAuditEvent, tell};
pub use items::{ItemChange, StoredItem};
pub use migrations::MigrationError;
pub use revocations::StoredRevocation;
pub use sessions::{Idle, LockedSession, NewSession, Opened, SessionActivity, SessionRow};
pub use signing_keys::{RevokedKey, SealedKey, StoredKey};

use crate::{
    error::Error,
    postgres::{
        batcher::Batcher,
        token_state::{RevokedToken, TokenLookup},
    },
};
use items::{ItemKey, NewItem};
use pools::{Address, LANE_CONNECTIONS};

/// Parameters of a statement.
type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Networks forget connections on which nothing was said for some minutes, and the last of a pool
/// may be silent for long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The record: connections for stories, and lanes for what many callers ask at the same moment.
pub struct Postgres {
    pool: Pool,
    batch_connections: Pool,
    users: Batcher<Uuid, (), StoredUser>,
    items: Batcher<ItemKey, (), StoredItem>,
    new_items: Batcher<ItemKey, NewItem, StoredItem>,
    token_states: Batcher<TokenLookup, (), RevokedToken>,
    clients: Batcher<Uuid, (), StoredClient>,
    personal_tokens: Batcher<Uuid, (), PersonalAccessTokenRow>,
    timeout: Duration,
    address: Address,
}

impl Postgres {
    /// Reads the address; nothing is connected yet. Some of the connections are for the lanes.
    /// Errors say what is wrong with the address, never what it is.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Postgres, String> {
        let mut settings = tokio_postgres::Config::from_str(&tls::without_foreign_options(url)?)
            .map_err(|_| {
                "must be a URL, for example `postgres://USER:PASSWORD@HOST/DATABASE`".to_owned()
            })?;
        settings
            .connect_timeout(timeout)
            .application_name("latchkey");
        // Also what only reads wants the primary: a standby may not know yet what was taken back.
        settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if !url.contains("keepalives_idle") {
            settings.keepalives_idle(KEEPALIVE);
        }
        let address = Address {
            tls: tls::connector(&mut settings)?,
            settings,
        };
        let connections = connections.saturating_sub(LANE_CONNECTIONS).max(1);
        let (pool, batch_connections) = (
            address.connections(connections, timeout)?,
            address.batch_connections(timeout)?,
        );
        let (users, items) = (
            users::finder(&batch_connections, &pool),
            items::finder(&batch_connections, &pool),
        );
        let (new_items, token_states) = (
            items::inserter(&batch_connections, &pool),
            token_state::finder(&batch_connections, &pool),
        );
        let (clients, personal_tokens) = (
            oauth_clients::finder(&batch_connections, &pool),
            personal_access_tokens::finder(&batch_connections, &pool),
        );
        Ok(Postgres {
            pool,
            batch_connections,
            users,
            items,
            new_items,
            token_states,
            clients,
            personal_tokens,
            timeout,
            address,
        })
    }

    /// Connections in use and open, for the metrics.
    pub fn connections(&self) -> (usize, usize) {
        let (connections, batch_connections) = (
            pools::count(&self.pool),
            pools::count(&self.batch_connections),
        );
        (
            connections.0 + batch_connections.0,
            connections.1 + batch_connections.1,
        )
    }

    /// Whether the record answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.connection().await?.batch("select 1").await
    }

    async fn connection(&self) -> Result<Connection, Error> {
        Connection::take(&self.pool, self.deadline()).await
    }

    /// When what is asked now must be answered.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

/// A connection for one story, with the story's deadline.
///
/// When a statement is cut short (deadline, hung-up caller, broken server) nobody knows what the
/// connection will say next, so it is closed instead of going back to the pool; the server then
/// rolls an open transaction back.
struct Connection {
    object: Option<Object>,
    deadline: Instant,
    doubtful: bool,
    in_transaction: bool,
    /// What the transaction has recorded: the log is told when it is committed, and only then.
    audited: Vec<AuditEvent>,
}

impl Connection {
    async fn take(pool: &Pool, deadline: Instant) -> Result<Connection, Error> {
        let object = timeout_at(deadline.into(), pool.get())
            .await
            .map_err(|_| late())?
            .map_err(Error::unavailable)?;
        Ok(Connection {
            object: Some(object),
            deadline,
            doubtful: false,
            in_transaction: false,
            audited: Vec::new(),
        })
    }

    async fn all(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.doubtful = true;
        let object = self.object.as_ref().expect("held until dropped");
        let query = async {
            object
                .query(&object.prepare_cached(sql).await?, params)
                .await
        };
        let answer = timeout_at(self.deadline.into(), query)
            .await
            .map_err(|_| late())?;
        self.settle(answer).await
    }

    async fn first(&mut self, sql: &'static str, params: Params<'_>) -> Result<Option<Row>, Error> {
        Ok(self.all(sql, params).await?.into_iter().next())
    }

    /// The number of rows that a statement changed.
    async fn change(&mut self, sql: &'static str, params: Params<'_>) -> Result<u64, Error> {
        self.doubtful = true;
        let object = self.object.as_ref().expect("held until dropped");
        let query = async {
            object
                .execute(&object.prepare_cached(sql).await?, params)
                .await
        };
        let answer = timeout_at(self.deadline.into(), query)
            .await
            .map_err(|_| late())?;
        self.settle(answer).await
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.batch("begin").await?;
        self.in_transaction = true;
        self.doubtful = true;
        Ok(())
    }

    /// The log is told of the event as soon as it stands.
    fn audited(&mut self, event: &AuditEvent) {
        match self.in_transaction {
            true => self.audited.push(event.clone()),
            false => audit::tell(event),
        }
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.batch("commit").await?;
        self.in_transaction = false;
        self.doubtful = false;
        self.audited.drain(..).for_each(|event| audit::tell(&event));
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), Error> {
        self.in_transaction = false;
        self.audited.clear();
        self.batch("rollback").await
    }

    async fn batch(&mut self, sql: &'static str) -> Result<(), Error> {
        self.doubtful = true;
        let object = self.object.as_ref().expect("held until dropped");
        let answer = timeout_at(self.deadline.into(), object.batch_execute(sql))
            .await
            .map_err(|_| late())?;
        self.doubtful = self.in_transaction || answer.as_ref().is_err_and(is_broken);
        answer.map_err(Error::from)
    }

    /// After an answer: a refused statement ends its transaction, a broken server ends the
    /// connection.
    async fn settle<T>(&mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T, Error> {
        let broken = answer.as_ref().is_err_and(is_broken);
        if answer.is_err() && self.in_transaction && !broken {
            self.roll_back().await?;
        }
        self.doubtful = self.in_transaction || broken;
        answer.map_err(Error::from)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take().filter(|_| self.doubtful) {
            drop(Object::take(object));
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        let constraint = error.as_db_error().and_then(|answer| answer.constraint());
        match constraint {
            Some("users_username_key") => Error::UsernameTaken,
            Some("users_email_key") => Error::EmailTaken,
            // The caller's account was deleted after the check.
            Some("items_user_id_fkey") => Error::TokenRevoked,
            Some("users_username_or_email") => Error::invalid_field(
                "username",
                "is required because the user has no email address",
            ),
            // Somebody holds a row for longer than this connection waits for one.
            _other if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::Busy,
            _other if is_outage(&error) => Error::unavailable(error),
            _other => Error::internal(error),
        }
    }
}

/// The connection is of no more use, also because it ended up on a server that may not write (after
/// a failover, 25006).
fn is_broken(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.as_db_error().is_none() || is_outage(error)
}

/// The server cannot answer now; asking again later may help. Classes 08, 53 and 57 of the SQLSTATE
/// codes, and 25006.
fn is_outage(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        None => true,
        Some(code) => {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION
                || ["08", "53", "57"]
                    .iter()
                    .any(|class| code.code().starts_with(class))
        }
    }
}

/// Tells a story once more when the server had to break a deadlock by failing it (40P01).
macro_rules! retry_on_deadlock {
    ($story:expr) => {
        match $story {
            outcome if $crate::postgres::met_deadlock(&outcome) => $story,
            outcome => outcome,
        }
    };
}
use latchkey_domain::audit::AuditEvent;
use retry_on_deadlock;

fn met_deadlock<T>(outcome: &Result<T, Error>) -> bool {
    let source = outcome.as_ref().err().and_then(std::error::Error::source);
    let cause = source.and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    cause.and_then(tokio_postgres::Error::code) == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

fn late() -> Error {
    Error::unavailable("PostgreSQL timed out")
}
