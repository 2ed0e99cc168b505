//! One connection that all requests share. It heals itself: whatever makes it doubtful drops it,
//! and the next caller connects anew, while nobody waits longer than the timeout.

use std::{sync::Mutex, time::Duration};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{failure, late, script::Script};
use crate::error::Error;

/// The connection, and how to make it.
pub struct Shared {
    client: Client,
    settings: AsyncConnectionConfig,
    timeout: Duration,
    /// The connection of the moment and its number, by which a failure tells *which* one is to be
    /// dropped.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    /// One caller connects, the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Shared {
    pub fn new(client: Client, settings: AsyncConnectionConfig, timeout: Duration) -> Shared {
        Shared {
            client,
            settings,
            timeout,
            current: Mutex::new((0, None)),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// One command.
    pub async fn ask(&self, command: &Cmd) -> Result<Value, Error> {
        self.with(|mut connection| async move { command.query_async(&mut connection).await })
            .await
    }

    /// One script.
    pub async fn run(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, Error> {
        self.with(|mut connection| async move { script.call(&mut connection, keys, args).await })
            .await
    }

    async fn with<S: Future<Output = Result<Value, RedisError>>>(
        &self,
        story: impl FnOnce(MultiplexedConnection) -> S,
    ) -> Result<Value, Error> {
        let mut number = None;
        let attempt = async {
            let (which, connection) = self.connection().await?;
            number = Some(which);
            story(connection).await
        };
        match timeout(self.timeout, attempt).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if makes_doubtful(&error) {
                    self.drop_connection(number);
                }
                Err(failure(error))
            }
            Err(_) => {
                // The server may be gone without a word: a fresh connection finds out.
                self.drop_connection(number);
                Err(late())
            }
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        match self.current() {
            Some(current) => Ok(current),
            // Rare, and large: no request needs to have room for it.
            None => Box::pin(self.connect()).await,
        }
    }

    async fn connect(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&self.settings)
            .await?;
        let mut current = self
            .current
            .lock()
            .expect("nothing panics while it is held");
        *current = (current.0 + 1, Some(connection.clone()));
        Ok((current.0, connection))
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self
            .current
            .lock()
            .expect("nothing panics while it is held");
        current.1.clone().map(|connection| (current.0, connection))
    }

    fn drop_connection(&self, number: Option<u64>) {
        let mut current = self
            .current
            .lock()
            .expect("nothing panics while it is held");
        if number == Some(current.0) {
            current.1 = None;
        }
    }
}

/// A broken line, or a server that may not write any more after a failover: it must be looked up
/// again.
pub fn makes_doubtful(error: &RedisError) -> bool {
    let deposed = matches!(
        error.kind(),
        deadpool_redis::redis::ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown
        )
    );
    deposed || error.is_unrecoverable_error() || error.is_io_error()
}
