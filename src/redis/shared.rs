//! A multiplexed connection that all requests share. After an error that requires a new connection,
//! the next caller reconnects. No caller waits longer than the timeout.

use std::{sync::Mutex, time::Duration};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{redis_error, script::Script, timeout_error};
use crate::error::Error;

pub struct SharedConnection {
    client: Client,
    settings: AsyncConnectionConfig,
    timeout: Duration,
    /// The current connection and its number. A failed caller drops the connection only if the
    /// number is still that of the connection it used.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    /// Held while connecting, so that concurrent callers share one new connection.
    connecting: tokio::sync::Mutex<()>,
}

impl SharedConnection {
    pub fn new(
        client: Client,
        settings: AsyncConnectionConfig,
        timeout: Duration,
    ) -> SharedConnection {
        SharedConnection {
            client,
            settings,
            timeout,
            current: Mutex::new((0, None)),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    pub async fn run_command(&self, command: &Cmd) -> Result<Value, Error> {
        self.with_connection(
            |mut connection| async move { command.query_async(&mut connection).await },
        )
        .await
    }

    pub async fn run_script(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, Error> {
        self.with_connection(|mut connection| async move {
            script.invoke(&mut connection, keys, args).await
        })
        .await
    }

    async fn with_connection<F: Future<Output = Result<Value, RedisError>>>(
        &self,
        call: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Value, Error> {
        let mut used_number = None;
        let attempt = async {
            let (number, connection) = self.connection().await?;
            used_number = Some(number);
            call(connection).await
        };
        match timeout(self.timeout, attempt).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if must_reconnect(&error) {
                    self.drop_connection(used_number);
                }
                Err(redis_error(error))
            }
            Err(_) => {
                // The server might have failed without closing the connection. Only a new
                // connection can detect that.
                self.drop_connection(used_number);
                Err(timeout_error())
            }
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        match self.current() {
            Some(current) => Ok(current),
            // Boxed: cold path, keeps the future of each request small.
            None => Box::pin(self.connect()).await,
        }
    }

    async fn connect(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let _connecting = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&self.settings)
            .await?;
        let mut current = self.current.lock().expect("no panic under the lock");
        *current = (current.0 + 1, Some(connection.clone()));
        Ok((current.0, connection))
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.current.lock().expect("no panic under the lock");
        current.1.clone().map(|connection| (current.0, connection))
    }

    fn drop_connection(&self, number: Option<u64>) {
        let mut current = self.current.lock().expect("no panic under the lock");
        if number == Some(current.0) {
            current.1 = None;
        }
    }
}

/// Whether an error requires a new connection: the connection is broken, or its server became a
/// follower in a failover, so that the address must be resolved again.
pub fn must_reconnect(error: &RedisError) -> bool {
    let is_follower = matches!(
        error.kind(),
        deadpool_redis::redis::ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown
        )
    );
    is_follower || error.is_unrecoverable_error() || error.is_io_error()
}
