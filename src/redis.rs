//! Redis holds hot state that can be rebuilt from PostgreSQL. Losing it loses nothing.
//!
//! Every change is one script: a `.lua` file with one function in a module below, whose results are
//! an enum. Keys of one user share the hash tag `{user_id}`, keys of the revocation log share
//! `{rev}`, and keys of rate limits share the tag of their owner. So all keys of a script are in
//! one slot of a cluster.

mod codes;
mod connect_error;
mod connection;
mod driver_error;
mod exclusive;
mod members;
mod preflight;
mod previous_layout;
mod primary;
mod probe;
mod rate_limits;
mod revocation_log;
mod revocations;
mod script;
mod sessions;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::redis::{Client, FromRedisValue, IntoConnectionInfo, RedisError};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

pub use crate::redis::revocation_log::{
    BeginOutcome, JoinOutcome, LogNotification, LogPage, RenewOutcome,
};
pub use codes::{CodeRegistration, Reservation};
pub use connect_error::diagnose;
use connection::SharedConnection;
use exclusive::ExclusiveConnections;
pub use members::LogMember;
pub use preflight::RedisServer;
use previous_layout::PreviousMembers;
use primary::Primary;
pub use probe::ProbeOutcome;
pub use revocations::{AppendOutcome, LookupOutcome, PublishedEntries};
use script::Script;
pub use sessions::{RefreshPolicy, RotatedSession, Rotation, StoredSession, format_outages};

use crate::{
    error::Error,
    reloadable_url::{ReloadableUrl, UrlReader},
};

/// The digits of the database ID in a key. Two databases share them with a probability of one in
/// four billion.
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
    /// The prefix with the database ID.
    prefix: OnceLock<String>,
    /// Whether the database ID is known, and no replica uses the previous layout of keys.
    has_usable_keys: AtomicBool,
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
        let url = ReloadableUrl::new("REDIS_URL", url, parse_url, read_again)?;
        let primary = Primary::new(url, prefix, timeouts.connect);
        Ok(Redis {
            shared: SharedConnection::new(primary.clone(), timeouts.operation),
            leases: SharedConnection::new(primary.clone(), timeouts.operation),
            exclusive: ExclusiveConnections::new(primary.clone(), timeouts)?,
            primary,
            configured_prefix: prefix.to_owned(),
            prefix: OnceLock::new(),
            has_usable_keys: AtomicBool::new(false),
            previous_members: Mutex::default(),
        })
    }

    /// Reads the file of the URL again, and uses another URL at once.
    pub fn reload_url(&self) {
        self.primary.reload_url();
    }

    /// Sets the database ID, which all keys contain, except the probe and the keys of the previous
    /// layout. So deployments that share a Redis and a prefix never use each other's keys.
    pub fn set_database(&self, database_id: Uuid) {
        let id = database_id.simple().to_string();
        let prefix = format!("{}:{}", self.configured_prefix, &id[..DATABASE_ID_DIGITS]);
        // All starts of a process read the same ID.
        let _ = self.prefix.set(prefix);
    }

    /// Like [`Redis::set_database`], for a process that only reads. It doesn't affect replicas with
    /// the previous layout of keys.
    pub fn set_database_for_reading(&self, database_id: Uuid) {
        self.set_database(database_id);
        self.has_usable_keys.store(true, Ordering::Relaxed);
    }

    /// Checks that keys can be used: the database ID is known, and no replica uses the previous
    /// layout of keys.
    async fn require_usable_keys(&self) -> Result<(), Error> {
        if self.has_usable_keys.load(Ordering::Relaxed) {
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
        self.retire_previous_layout().await?;
        self.has_usable_keys.store(true, Ordering::Relaxed);
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
        self.require_usable_keys().await?;
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
        self.require_usable_keys().await?;
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

fn parse_url(url: &SecretString) -> Result<Client, String> {
    let url_error =
        |_: RedisError| "must be a URL, for example `redis://USER:PASSWORD@HOST`".to_owned();
    let info = url
        .expose_secret()
        .into_connection_info()
        .map_err(url_error)?;
    // With Nagle's algorithm, a small command might wait 40 ms for the acknowledgment of the
    // previous one.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(url_error)
}
