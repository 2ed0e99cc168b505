//! Redis holds hot state that can be rebuilt from PostgreSQL. Losing it loses nothing.
//!
//! Every change is one script: a `.lua` file with one function in a module below, whose results are
//! an enum. Keys of one user share the hash tag `{sub}`, keys of the revocation log share `{rev}`,
//! and keys of rate limits share the tag of their owner. So all keys of a script are in one slot of
//! a cluster.

mod codes;
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
    BeginOutcome, JoinOutcome, LogMember, LogNotification, LogPage, RenewOutcome,
};
pub use codes::{Registered, Reservation};
pub use revocations::{AppendOutcome, LookupOutcome, PublishedEntries};
use script::Script;
pub use sessions::{RefreshPolicy, RotatedSession, Rotation, StoredSession};
use shared::Shared;

use crate::error::Error;

/// Exclusive connections of the mail worker and of recovery, which are no hot paths.
const POOL_SIZE: usize = 4;

/// Connections to Redis.
pub struct Redis {
    /// One connection for everything hot: commands of all requests share its round trips.
    shared: Shared,
    /// One for leases alone: nobody's long answer keeps them waiting.
    leases: Shared,
    /// Makes connections that listen.
    client: Client,
    /// Connections for one at a time. Each checkout costs two more round trips, so nothing hot is
    /// here.
    pool: Pool,
    timeout: Duration,
    prefix: String,
}

impl Redis {
    /// Reads the address; nothing is connected yet. Errors say what is wrong with the address,
    /// never what it is.
    pub fn new(url: &str, prefix: &str, timeout: Duration) -> Result<Redis, String> {
        let wrong = |_| "must be a URL, for example `redis://USER:PASSWORD@HOST`".to_owned();
        let info = url.into_connection_info().map_err(wrong)?;
        // Without this every small command may wait 40 ms for the acknowledgement of the one
        // before.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        // The driver keeps no time: everything below has a timeout of ours around it, and two would
        // be two timers.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let manager = Manager::new_with_config(info.clone(), settings.clone()).map_err(wrong)?;
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
        let client = Client::open(info).map_err(wrong)?;
        let shared = Shared::new(client.clone(), settings.clone(), timeout);
        let leases = Shared::new(client.clone(), settings, timeout);
        Ok(Redis {
            shared,
            leases,
            client,
            pool,
            timeout,
            prefix: prefix.to_owned(),
        })
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.shared.ask(&redis::cmd("PING")).await.map(drop)
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        let answer = self.shared.run(script, keys, args).await?;
        T::from_redis_value(answer).map_err(|_| script.unknown_answer())
    }

    /// Like [`Redis::run`], on a connection of its own.
    async fn run_apart<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        let story = async {
            let mut connection = self.pool.get().await.map_err(Error::unavailable)?;
            let answer = script.call(&mut *connection, keys, args).await;
            if answer.as_ref().is_err_and(shared::makes_doubtful) {
                drop(deadpool_redis::Connection::take(connection));
            }
            answer.map_err(failure)
        };
        let answer = tokio::time::timeout(self.timeout, story)
            .await
            .map_err(|_| late())??;
        T::from_redis_value(answer).map_err(|_| script.unknown_answer())
    }

    fn account_key(&self, sub: Uuid) -> String {
        format!("{}:{{{sub}}}:user", self.prefix)
    }

    fn session_key(&self, sub: Uuid, sid: Uuid) -> String {
        format!("{}:{{{sub}}}:session:{sid}", self.prefix)
    }
}

/// Redis answering OOM, LOADING, BUSY, READONLY or MASTERDOWN counts as down; so does everything
/// that is no answer.
fn failure(error: redis::RedisError) -> Error {
    Error::unavailable(error)
}

fn late() -> Error {
    Error::unavailable("Redis timed out")
}

fn bytes(args: &[String]) -> Vec<&[u8]> {
    args.iter().map(String::as_bytes).collect()
}

fn milliseconds(seconds: u64) -> String {
    (seconds * 1000).to_string()
}
