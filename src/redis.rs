//! Redis holds hot state that can be rebuilt from PostgreSQL. Losing it loses nothing.
//!
//! Every change is one script: a `.lua` file with one function in a module below, whose results are
//! an enum. Keys of one user share the hash tag `{user_id}`, keys of the revocation log share
//! `{rev}`, and keys of rate limits share the tag of their owner. So all keys of a script are in
//! one slot of a cluster.

mod codes;
mod connect_error;
mod connection;
mod exclusive;
mod members;
mod preflight;
mod previous_version;
mod primary;
mod probe;
mod rate_limits;
mod revocation_log;
mod revocations;
mod script;
mod sessions;
mod url;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::FromRedisValue;
use secrecy::SecretString;
use uuid::Uuid;

pub use crate::redis::revocation_log::{
    BeginOutcome, JoinOutcome, LogNotification, LogPage, RenewOutcome,
};
pub use codes::{CodeRegistration, Reservation};
use connection::SharedConnection;
use exclusive::ExclusiveConnections;
pub use members::LogMember;
pub use preflight::RedisServer;
use previous_version::PreviousMembers;
use primary::Primary;
pub use probe::diagnose;
pub use revocations::{AppendOutcome, LookupOutcome, PublishedEntries};
use script::Script;
pub use sessions::{RefreshPolicy, RotatedSession, Rotation, StoredSession, format_outages};
use url::RedisUrl;
pub use url::UrlReader;

use crate::error::Error;

/// The digits of the database ID in a key. Two databases share them with a probability of one in four
/// billion.
const DATABASE_ID_DIGITS: usize = 8;

/// The timeouts of Redis.
#[derive(Debug, Clone, Copy)]
pub struct RedisTimeouts {
    /// The timeout of an operation, including the wait for a connection.
    pub operation: Duration,
    /// The timeout of an attempt to connect, which continues when an operation stops waiting for
    /// it.
    pub connect: Duration,
}

/// Connections to Redis.
pub struct Redis {
    /// The connection for frequent operations. Concurrent commands share its round trips.
    shared: SharedConnection,
    /// A connection for leases only, so that a large response never delays a renewal.
    leases: SharedConnection,
    exclusive: ExclusiveConnections,
    /// Opens connections for subscriptions.
    primary: Arc<Primary>,
    /// The prefix in the settings.
    configured_prefix: String,
    /// The prefix with the ID of the database.
    prefix: OnceLock<String>,
    /// Whether no replica of the previous version was found.
    is_open: AtomicBool,
    previous_members: Mutex<PreviousMembers>,
}

impl Redis {
    /// Parses the URL without connecting. When Redis rejects the credentials, `read_again` reads
    /// the URL again.
    ///
    /// # Errors
    /// The reason why the URL is invalid. The text never contains the URL, because it can contain a
    /// password.
    pub fn new(
        url: &SecretString,
        read_again: UrlReader,
        prefix: &str,
        timeouts: RedisTimeouts,
    ) -> Result<Redis, String> {
        let url = RedisUrl::new(url, read_again)?;
        let primary = Primary::new(url, format!("{prefix}:{{rev}}:state"), timeouts.connect);
        Ok(Redis {
            shared: SharedConnection::new(primary.clone(), timeouts.operation),
            leases: SharedConnection::new(primary.clone(), timeouts.operation),
            exclusive: ExclusiveConnections::new(primary.clone(), timeouts)?,
            primary,
            configured_prefix: prefix.to_owned(),
            prefix: OnceLock::new(),
            is_open: AtomicBool::new(false),
            previous_members: Mutex::default(),
        })
    }

    /// Sets the ID of the database, which all keys contain. So installations that share a Redis and
    /// a prefix never use each other's keys.
    pub fn set_database(&self, database_id: Uuid) {
        let id = database_id.simple().to_string();
        let prefix = format!("{}:{}", self.configured_prefix, &id[..DATABASE_ID_DIGITS]);
        // All starts of a process read the same ID.
        let _ = self.prefix.set(prefix);
    }

    /// Like [`Redis::set_database`], for a process that only reads. It doesn't affect replicas of
    /// the previous version.
    pub fn open_for_reading(&self, database_id: Uuid) {
        self.set_database(database_id);
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Checks that keys can be used: the ID of the database is known, and no replica of the previous
    /// version uses this Redis.
    async fn require_open(&self) -> Result<(), Error> {
        if self.is_open.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Boxed: cold path, keeps the future of each operation small.
        Box::pin(self.open()).await
    }

    async fn open(&self) -> Result<(), Error> {
        if self.prefix.get().is_none() {
            return Err(Error::unavailable(
                "the ID of the database is not known yet",
            ));
        }
        self.retire_previous_version().await?;
        self.is_open.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The prefix of all keys. Operations send no key before it is known.
    fn prefix(&self) -> &str {
        self.prefix.get().map_or("", String::as_str)
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        self.require_open().await?;
        let result = self.shared.run_script(script, keys, args).await?;
        T::from_redis_value(result).map_err(|_| script.unknown_result())
    }

    /// Like [`Redis::run`], on an exclusive connection.
    async fn run_exclusive<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        self.require_open().await?;
        let result = self.exclusive.run_script(script, keys, args).await?;
        T::from_redis_value(result).map_err(|_| script.unknown_result())
    }

    fn user_key(&self, user_id: Uuid) -> String {
        format!("{}:{{{user_id}}}:user", self.prefix())
    }

    fn session_key(&self, user_id: Uuid, session_id: Uuid) -> String {
        format!("{}:{{{user_id}}}:session:{session_id}", self.prefix())
    }
}

fn to_byte_args(args: &[String]) -> Vec<&[u8]> {
    args.iter().map(String::as_bytes).collect()
}

fn to_milliseconds(seconds: u64) -> String {
    (seconds * 1000).to_string()
}
