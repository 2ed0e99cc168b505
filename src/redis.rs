//! Redis holds hot state that can be rebuilt from PostgreSQL. Losing it loses nothing.
//!
//! Every change is one script: a `.lua` file with one function in a module below, whose results are
//! an enum. Keys of one user share the hash tag `{user_id}`, keys of the revocation log share
//! `{rev}`, and keys of rate limits share the tag of their owner. So all keys of a script are in one
//! slot of a cluster.

mod codes;
mod members;
mod rate_limits;
mod revocation_log;
mod revocations;
mod script;
mod sessions;
mod shared;

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime, Timeouts, redis};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo};
use uuid::Uuid;

pub use crate::redis::revocation_log::{
    BeginOutcome, JoinOutcome, LogNotification, LogPage, RenewOutcome,
};
pub use codes::{CodeRegistration, Reservation};
pub use members::LogMember;
pub use revocations::{AppendOutcome, LookupOutcome, PublishedEntries};
use script::Script;
pub use sessions::{RefreshPolicy, RotatedSession, Rotation, StoredSession, format_outages};
use shared::SharedConnection;

use crate::error::Error;

/// Maximum number of exclusive connections. Only the scripts of one-time codes use them.
const POOL_SIZE: usize = 4;

/// Connections to Redis.
pub struct Redis {
    /// The connection for frequent operations. Concurrent commands share its round trips.
    shared: SharedConnection,
    /// A connection for leases only, so that a large response never delays a renewal.
    leases: SharedConnection,
    /// Opens connections for subscriptions.
    client: Client,
    /// Exclusive connections. Each checkout costs two additional round trips, so frequent
    /// operations don't use the pool.
    pool: Pool,
    timeout: Duration,
    prefix: String,
}

impl Redis {
    /// Parses the URL without connecting.
    ///
    /// # Errors
    /// The reason why the URL is invalid. The text never contains the URL, because it can contain a
    /// password.
    pub fn new(url: &str, prefix: &str, timeout: Duration) -> Result<Redis, String> {
        let url_error = |_| "must be a URL, for example `redis://USER:PASSWORD@HOST`".to_owned();
        let info = url.into_connection_info().map_err(url_error)?;
        // With Nagle's algorithm, a small command might wait 40 ms for the acknowledgment of the
        // previous one.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        // The driver's timeouts are off: the functions below have timeouts of their own, and a
        // second timer per command would only cost time.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let manager =
            Manager::new_with_config(info.clone(), settings.clone()).map_err(url_error)?;
        let timeouts = Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: Some(timeout),
        };
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1);
        let pool = pool.build().map_err(|_| "cannot be pooled".to_owned())?;
        let client = Client::open(info).map_err(url_error)?;
        let shared = SharedConnection::new(client.clone(), settings.clone(), timeout);
        let leases = SharedConnection::new(client.clone(), settings, timeout);
        Ok(Redis {
            shared,
            leases,
            client,
            pool,
            timeout,
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
        let call = async {
            let mut connection = self.pool.get().await.map_err(Error::unavailable)?;
            let result = script.invoke(&mut *connection, keys, args).await;
            if result.as_ref().is_err_and(shared::must_reconnect) {
                drop(deadpool_redis::Connection::take(connection));
            }
            result.map_err(redis_error)
        };
        let result = tokio::time::timeout(self.timeout, call)
            .await
            .map_err(|_| timeout_error())??;
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
