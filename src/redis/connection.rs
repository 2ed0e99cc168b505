//! A multiplexed connection that all requests share. After an error that requires a new connection,
//! the next caller reconnects. No caller waits longer than the timeout of an operation; the attempt
//! to connect continues, and later callers receive its connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::redis::{RedisError, Value};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::time::timeout;

use super::{
    connect_error::{RedisConnectError, RedisTimedOut},
    primary::{Primary, PrimaryConnection},
    script::Script,
};
use crate::error::Error;

/// The delay after the first failed attempt. It doubles with each further one.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The longest delay after a failed attempt.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

type Attempt = Shared<BoxFuture<'static, Result<(), RedisConnectError>>>;

#[derive(Clone)]
pub(super) struct SharedConnection {
    primary: Arc<Primary>,
    timeout: Duration,
    state: Arc<Mutex<State>>,
    /// Failed attempts to connect and abandoned generations since the last successful script.
    failures: Arc<AtomicU32>,
}

#[derive(Default)]
struct State {
    current: Option<PrimaryConnection>,
    /// The attempt to connect that is running.
    attempt: Option<Attempt>,
    /// The last failure, and the time of the next attempt.
    failure: Option<(RedisConnectError, Instant)>,
}

impl SharedConnection {
    pub fn new(primary: Arc<Primary>, timeout: Duration) -> SharedConnection {
        SharedConnection {
            primary,
            timeout,
            state: Arc::default(),
            failures: Arc::default(),
        }
    }

    pub async fn run_script(
        &self,
        script: &Script,
        keys: &[String],
        args: &[&[u8]],
    ) -> Result<Value, Error> {
        let mut used = None;
        let attempt = async {
            let mut connection = self.connection().await.map_err(Error::unavailable)?;
            used = Some(connection.id);
            let result = script.invoke(&mut connection.connection, keys, args).await;
            match &result {
                // Only a script proves that the server works.
                Ok(_) if self.failures.load(Ordering::Relaxed) > 0 => {
                    self.failures.store(0, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => self.handle_error(error, connection.id, connection.generation),
            }
            result.map_err(Error::unavailable)
        };
        let result = timeout(self.timeout, attempt).await;
        result.unwrap_or_else(|_| Err(self.handle_timeout(used)))
    }

    /// Drops the connection that was used, because the server might have failed without closing it.
    /// Only a new connection can detect that. Returns the last connection failure if no connection
    /// was available, otherwise a timeout.
    fn handle_timeout(&self, used: Option<u64>) -> Error {
        self.drop_connection(used);
        let last_failure = self
            .state()
            .failure
            .as_ref()
            .map(|(error, _)| error.clone());
        match (used, last_failure) {
            (None, Some(error)) => Error::unavailable(error),
            _timed_out => Error::unavailable(RedisTimedOut),
        }
    }

    /// Returns the connection. It opens one if necessary, within the connect timeout.
    pub async fn connection(&self) -> Result<PrimaryConnection, RedisConnectError> {
        let current = self.state().valid_connection(&self.primary);
        match current {
            Some(connection) => Ok(connection),
            // Boxed: cold path, keeps the future of each request small.
            None => Box::pin(self.connect()).await,
        }
    }

    async fn connect(&self) -> Result<PrimaryConnection, RedisConnectError> {
        loop {
            let attempt = {
                let mut state = self.state();
                if let Some(connection) = state.valid_connection(&self.primary) {
                    return Ok(connection);
                }
                match &state.failure {
                    Some((error, retry_at)) if Instant::now() < *retry_at => {
                        return Err(error.clone());
                    }
                    _due => state
                        .attempt
                        .get_or_insert_with(|| self.start_attempt())
                        .clone(),
                }
            };
            attempt.await?;
        }
    }

    /// Connects in a task of its own, so that the attempt outlives the callers that wait for it.
    fn start_attempt(&self) -> Attempt {
        let connection = self.clone();
        let task = tokio::spawn(async move {
            let outcome = connection.primary.connect().await;
            connection.finish_attempt(outcome)
        });
        let connection = self.clone();
        let attempt = async move {
            match task.await {
                Ok(outcome) => outcome,
                // It panicked. The next caller starts another attempt.
                Err(_) => connection.finish_attempt(Err(RedisConnectError::Interrupted)),
            }
        };
        attempt.boxed().shared()
    }

    /// Drops the connection, or all connections to this server, if the error requires it.
    fn handle_error(&self, error: &RedisError, id: u64, generation: u64) {
        match ErrorImpact::of(error) {
            ErrorImpact::Command => {}
            ErrorImpact::Connection => self.drop_connection(Some(id)),
            // Concurrent operations fail for the same reason, which counts once.
            ErrorImpact::Server if self.primary.abandon(generation) => {
                self.delay_next_attempt(&mut self.state(), RedisConnectError::from(error.clone()));
            }
            ErrorImpact::Server => {}
        }
    }

    fn finish_attempt(
        &self,
        outcome: Result<PrimaryConnection, RedisConnectError>,
    ) -> Result<(), RedisConnectError> {
        let mut state = self.state();
        state.attempt = None;
        match outcome {
            Ok(connection) => {
                (state.current, state.failure) = (Some(connection), None);
                Ok(())
            }
            Err(error) => {
                self.delay_next_attempt(&mut state, error.clone());
                Err(error)
            }
        }
    }

    /// Until the next attempt, callers receive this error at once.
    fn delay_next_attempt(&self, state: &mut State, error: RedisConnectError) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let retry_at = Instant::now() + retry_delay(failures, random_fraction());
        state.failure = Some((error, retry_at));
    }

    fn drop_connection(&self, id: Option<u64>) {
        let mut state = self.state();
        if state.current.as_ref().map(|current| current.id) == id {
            state.current = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    /// Returns the connection, unless Redis has failed over since.
    fn valid_connection(&mut self, primary: &Primary) -> Option<PrimaryConnection> {
        let current = self.current.as_ref()?;
        if current.generation != primary.generation() {
            self.current = None;
            return None;
        }
        Some(current.clone())
    }
}

/// Returns the delay after a failed attempt: a random part of a time that doubles with each
/// attempt, so that replicas don't reconnect at the same time.
fn retry_delay(failures: u32, fraction: f64) -> Duration {
    let longest = FIRST_RETRY_DELAY * 2u32.saturating_pow(failures.min(10));
    let longest = longest.min(MAX_RETRY_DELAY);
    FIRST_RETRY_DELAY + (longest - FIRST_RETRY_DELAY).mul_f64(fraction)
}

/// Returns a random number from 0 to 1.
fn random_fraction() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness, the delay is the shortest one.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}

/// The part that an error makes unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorImpact {
    /// Only the command.
    Command,
    /// The connection is broken.
    Connection,
    /// The server can't serve as the primary, so that the address must be resolved again.
    Server,
}

impl ErrorImpact {
    pub fn of(error: &RedisError) -> ErrorImpact {
        match error.code() {
            Some(
                "READONLY" | "MASTERDOWN" | "NOREPLICAS" | "MISCONF" | "CLUSTERDOWN" | "LOADING"
                | "NOAUTH" | "NOTPRIMARY",
            ) => ErrorImpact::Server,
            _other if error.is_unrecoverable_error() || error.is_io_error() => {
                ErrorImpact::Connection
            }
            _other => ErrorImpact::Command,
        }
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::{ErrorKind, ServerErrorKind};

    use super::*;

    #[test]
    fn retry_delay_doubles_up_to_a_second() {
        for (failures, fraction, milliseconds) in [
            (0, 1.0, 50),
            (1, 1.0, 100),
            (3, 1.0, 400),
            (9, 1.0, 1_000),
            (99, 1.0, 1_000),
            (9, 0.0, 50),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(
                retry_delay(failures, fraction),
                expected,
                "{failures} {fraction}"
            );
        }
    }

    #[test]
    fn readonly_error_affects_server() {
        let of = |kind| ErrorImpact::of(&RedisError::from((kind, "")));
        assert_eq!(
            of(ErrorKind::Server(ServerErrorKind::ReadOnly)),
            ErrorImpact::Server
        );
        assert_eq!(
            of(ErrorKind::Server(ServerErrorKind::MasterDown)),
            ErrorImpact::Server
        );
        assert_eq!(
            of(ErrorKind::Server(ServerErrorKind::NoScript)),
            ErrorImpact::Command
        );
        assert_eq!(of(ErrorKind::Io), ErrorImpact::Connection);
    }
}
