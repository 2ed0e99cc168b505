//! Exclusive connections. Each checkout costs two additional round trips, so frequent operations
//! don't use them.

use std::sync::{Arc, Mutex};

use deadpool_redis::{
    Connection, Hook, HookError, Manager, Pool, PoolError, Runtime, Timeouts as PoolTimeouts,
    redis::{Client, Value},
};
use tokio::time::timeout;

use super::{
    RedisTimeouts,
    connect_error::{RedisConnectError, RedisTimedOut},
    connection::ErrorImpact,
    primary::{Primary, connection_settings},
    script::Script,
};
use crate::error::Error;

/// Maximum number of exclusive connections. Only the scripts of one-time codes use them.
const POOL_SIZE: usize = 4;

pub(super) struct ExclusiveConnections {
    primary: Arc<Primary>,
    timeouts: RedisTimeouts,
    current: Mutex<CurrentPool>,
}

/// The pool of one URL and one generation.
struct CurrentPool {
    url_version: u64,
    generation: u64,
    pool: Pool,
}

impl ExclusiveConnections {
    /// # Errors
    /// If the URL can't be pooled.
    pub fn new(
        primary: Arc<Primary>,
        timeouts: RedisTimeouts,
    ) -> Result<ExclusiveConnections, String> {
        let current = CurrentPool::build(&primary, timeouts)?;
        Ok(ExclusiveConnections {
            primary,
            timeouts,
            current: Mutex::new(current),
        })
    }

    pub async fn run_script(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, Error> {
        let (pool, generation, url_version) = self.pool()?;
        let call = async {
            // A task of its own: the attempt to connect continues when this operation gives up, and
            // a later one receives the connection.
            let connection = tokio::spawn(async move { pool.get().await });
            let connection = connection
                .await
                .map_err(|_| Error::unavailable(RedisConnectError::Interrupted))?;
            let mut connection = connection.map_err(|error| {
                if let PoolError::Backend(cause)
                | PoolError::PostCreateHook(HookError::Backend(cause)) = &error
                {
                    self.primary.refresh_url_after(cause, url_version);
                }
                Error::unavailable(error)
            })?;
            let result = script.invoke(&mut *connection, keys, args).await;
            let impact = result.as_ref().err().map(ErrorImpact::of);
            if !matches!(impact, None | Some(ErrorImpact::Command)) {
                drop(Connection::take(connection));
            }
            if impact == Some(ErrorImpact::Server) {
                self.primary.abandon(generation);
            }
            result.map_err(Error::unavailable)
        };
        timeout(self.timeouts.operation, call)
            .await
            .map_err(|_| Error::unavailable(RedisTimedOut))?
    }

    /// Returns the pool, the generation of its connections, and the version of its URL. After a
    /// failover, and when the URL has changed, it is a new pool.
    fn pool(&self) -> Result<(Pool, u64, u64), Error> {
        let mut current = self.current.lock().expect("no holder panics");
        let is_current = current.generation == self.primary.generation()
            && current.url_version == self.primary.url_version();
        if !is_current {
            *current = CurrentPool::build(&self.primary, self.timeouts).map_err(Error::internal)?;
        }
        Ok((
            current.pool.clone(),
            current.generation,
            current.url_version,
        ))
    }
}

impl CurrentPool {
    fn build(primary: &Arc<Primary>, timeouts: RedisTimeouts) -> Result<CurrentPool, String> {
        let generation = primary.generation();
        let (client, url_version) = primary.client();
        Ok(CurrentPool {
            url_version,
            generation,
            pool: build_pool(primary, &client, url_version, timeouts)?,
        })
    }
}

fn build_pool(
    primary: &Arc<Primary>,
    client: &Client,
    url_version: u64,
    timeouts: RedisTimeouts,
) -> Result<Pool, String> {
    let info = client.get_connection_info().clone();
    let manager = Manager::new_with_config(info, connection_settings())
        .map_err(|_| "cannot be pooled".to_owned())?;
    Pool::builder(manager)
        .max_size(POOL_SIZE)
        .post_create(examine_server(primary.clone(), url_version))
        .timeouts(PoolTimeouts {
            wait: Some(timeouts.operation),
            create: Some(timeouts.connect),
            recycle: Some(timeouts.operation),
        })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|_| "cannot be pooled".to_owned())
}

/// Checks that each new connection leads to the primary. The pool limits only the time of
/// connecting.
fn examine_server(primary: Arc<Primary>, url_version: u64) -> Hook {
    Hook::async_fn(move |connection, _| {
        let primary = primary.clone();
        Box::pin(async move {
            let examination = primary.examine(connection, url_version);
            match timeout(primary.connect_timeout(), examination).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(RedisConnectError::Failed(error))) => Err(HookError::Backend(error)),
                // The probe on the shared connection reports the cause.
                Ok(Err(error)) => Err(HookError::message(error.to_string())),
                Err(_) => Err(HookError::message(RedisConnectError::TimedOut.to_string())),
            }
        })
    })
}
