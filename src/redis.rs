//! Redis holds hot state that can be rebuilt from PostgreSQL. Losing it loses nothing.
//!
//! Every change is one script: a `.lua` file with one function in a module below, whose results are
//! an enum. Keys of one user share the hash tag `{user_id}`, keys of the revocation log share
//! `{rev}`, and keys of rate limits share the tag of their owner. So all keys of a script are in
//! one slot of a cluster.

mod codes;
mod connection;
mod exclusive;
mod members;
mod primary;
mod rate_limits;
mod revocation_log;
mod revocations;
mod script;
mod sessions;
mod url;

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{self, FromRedisValue};
use secrecy::SecretString;
use uuid::Uuid;

pub use crate::redis::revocation_log::{
    BeginOutcome, JoinOutcome, LogNotification, LogPage, RenewOutcome,
};
pub use codes::{CodeRegistration, Reservation};
use connection::SharedConnection;
use exclusive::ExclusiveConnections;
pub use members::LogMember;
use primary::Primary;
pub use revocations::{AppendOutcome, LookupOutcome, PublishedEntries};
use script::Script;
pub use sessions::{RefreshPolicy, RotatedSession, Rotation, StoredSession, format_outages};
use url::RedisUrl;
pub use url::UrlReader;

use crate::error::Error;

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
    prefix: String,
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
        let primary = Primary::new(RedisUrl::new(url, read_again)?, timeouts.connect);
        Ok(Redis {
            shared: SharedConnection::new(primary.clone(), timeouts.operation),
            leases: SharedConnection::new(primary.clone(), timeouts.operation),
            exclusive: ExclusiveConnections::new(primary.clone(), timeouts)?,
            primary,
            prefix: prefix.to_owned(),
        })
    }

    /// Checks that Redis responds within the timeout.
    pub async fn ping(&self) -> Result<(), Error> {
        self.shared.run_command(&redis::cmd("PING")).await.map(drop)
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T, Error> {
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
        let result = self.exclusive.run_script(script, keys, args).await?;
        T::from_redis_value(result).map_err(|_| script.unknown_result())
    }

    fn user_key(&self, user_id: Uuid) -> String {
        format!("{}:{{{user_id}}}:user", self.prefix)
    }

    fn session_key(&self, user_id: Uuid, session_id: Uuid) -> String {
        format!("{}:{{{user_id}}}:session:{session_id}", self.prefix)
    }
}

/// Every error means that Redis is unavailable, including the replies `OOM`, `LOADING`, `BUSY`,
/// `READONLY`, and `MASTERDOWN`.
fn redis_error(error: redis::RedisError) -> Error {
    Error::unavailable(error)
}

fn timeout_error() -> Error {
    Error::unavailable("Redis timed out")
}

fn to_byte_args(args: &[String]) -> Vec<&[u8]> {
    args.iter().map(String::as_bytes).collect()
}

fn to_milliseconds(seconds: u64) -> String {
    (seconds * 1000).to_string()
}
