//! The Redis server that is the primary, and the generation of the connections to it.
//!
//! All shared and exclusive connections of a generation lead to the same replication history. A
//! connection with another history begins the next generation, and connections of the previous
//! generation are not used again. So they never write to two primaries. Subscriptions are not
//! examined, only replaced with the generation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection,
};
use tokio::{sync::watch, time::timeout};

use super::{
    connect_error::RedisConnectError,
    driver_error::is_authentication_failure,
    preflight::{self, RedisServer},
};
use crate::reloadable_url::ReloadableUrl;

/// Returns the settings of the driver. Its timeouts are off: the callers have timeouts of their
/// own, and a second timer per command would only cost time.
pub(super) fn connection_settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

/// The shortest interval between two changes of the history, unless a server rejects writes.
const MIN_CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// Opens connections to the primary.
pub(super) struct Primary {
    url: ReloadableUrl<Client>,
    /// The prefix of keys in the settings.
    key_prefix: String,
    connect_timeout: Duration,
    generation: watch::Sender<Generation>,
    /// The number of connections so far.
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct Generation {
    number: u64,
    /// The replication ID of the first connection.
    history_id: Option<String>,
    /// When the history last changed.
    changed_at: Option<Instant>,
}

/// A connection of one generation.
#[derive(Clone)]
pub(super) struct PrimaryConnection {
    pub connection: MultiplexedConnection,
    /// Identifies this connection.
    pub id: u64,
    pub generation: u64,
    pub server: Arc<RedisServer>,
}

impl Primary {
    pub fn new(
        url: ReloadableUrl<Client>,
        key_prefix: &str,
        connect_timeout: Duration,
    ) -> Arc<Primary> {
        Arc::new(Primary {
            url,
            key_prefix: key_prefix.to_owned(),
            connect_timeout,
            generation: watch::Sender::default(),
            connections: AtomicU64::new(0),
        })
    }

    /// Returns the client of the current URL, and the version of the URL.
    pub fn client(&self) -> (Arc<Client>, u64) {
        self.url.current()
    }

    /// Returns the version of the current URL.
    pub fn url_version(&self) -> u64 {
        self.url.current().1
    }

    /// Reads the URL again if Redis rejected the credentials of this version of it.
    pub fn refresh_url_after(&self, error: &RedisError, version: u64) {
        if is_authentication_failure(error) {
            self.url.refresh(version);
        }
    }

    /// Reads the URL again. If it has changed, ends the connections to the server of the previous
    /// URL.
    pub fn reload_url(&self) {
        if self.url.reload() {
            self.abandon(self.generation());
        }
    }

    /// Returns the timeout of an attempt to connect.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns the number of the current generation.
    pub fn generation(&self) -> u64 {
        self.generation.borrow().number
    }

    /// Waits until a generation ends.
    pub async fn wait_for_end(&self, number: u64) {
        let mut generation = self.generation.subscribe();
        // The sender exists as long as `self`.
        let _ = generation
            .wait_for(|current| current.number != number)
            .await;
    }

    /// Ends a generation, because its server can't serve as the primary. Returns `false` if it has
    /// ended already.
    pub fn abandon(&self, number: u64) -> bool {
        self.generation.send_if_modified(|current| {
            let is_current = current.number == number;
            if is_current {
                current.number += 1;
                current.history_id = None;
            }
            is_current
        })
    }

    /// Opens a connection, and checks that its server is the primary. If Redis rejects the
    /// credentials, and the file has changed, repeats the attempt.
    pub async fn connect(&self) -> Result<PrimaryConnection, RedisConnectError> {
        loop {
            let (client, version) = self.url.current();
            let outcome = match timeout(self.connect_timeout, self.open(&client, version)).await {
                Ok(outcome) => outcome,
                Err(_) if preflight::responds_without_tls(&client).await => {
                    Err(RedisConnectError::NoTls)
                }
                Err(_) => Err(RedisConnectError::TimedOut),
            };
            if self.url_version() != version {
                // The URL was reloaded during the attempt, so this server isn't the one to use.
                if let Ok(connection) = outcome {
                    self.abandon(connection.generation);
                }
                continue;
            }
            let is_authentication_failure = outcome
                .as_ref()
                .is_err_and(RedisConnectError::is_authentication_failure);
            if !is_authentication_failure || !self.url.refresh(version) {
                return outcome;
            }
        }
    }

    async fn open(
        &self,
        client: &Client,
        url_version: u64,
    ) -> Result<PrimaryConnection, RedisConnectError> {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&connection_settings())
            .await?;
        let (server, generation) = self.examine(&mut connection, url_version).await?;
        Ok(PrimaryConnection {
            connection,
            id: self.connections.fetch_add(1, Ordering::Relaxed),
            generation,
            server: Arc::new(server),
        })
    }

    /// Checks that the server of a connection is the primary. Returns its description, and the
    /// generation of the connection. If the URL of the connection was replaced meanwhile, the
    /// attempt was interrupted, because the history of that server doesn't count any longer.
    pub async fn examine(
        &self,
        connection: &mut MultiplexedConnection,
        url_version: u64,
    ) -> Result<(RedisServer, u64), RedisConnectError> {
        let server = preflight::examine(connection, &self.key_prefix).await?;
        if self.url_version() != url_version {
            return Err(RedisConnectError::Interrupted);
        }
        let generation = self
            .observe_history(&server.history_id)
            .ok_or(RedisConnectError::TwoPrimaries)?;
        Ok((server, generation))
    }

    /// Returns the generation of a connection to a server with this replication history. Returns
    /// `None` if the history has just changed: two servers are primaries, and connections would
    /// alternate between them.
    fn observe_history(&self, history_id: &str) -> Option<u64> {
        let (mut number, now) = (None, Instant::now());
        self.generation.send_if_modified(|current| {
            number = Some(current.number);
            match &current.history_id {
                Some(joined) if joined == history_id => return false,
                Some(_other) => {
                    let is_recent = |changed| now - changed < MIN_CHANGE_INTERVAL;
                    if current.changed_at.is_some_and(is_recent) {
                        number = None;
                        return false;
                    }
                    current.number += 1;
                }
                None => {}
            }
            current.changed_at = Some(now);
            number = Some(current.number);
            current.history_id = Some(history_id.to_owned());
            true
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::*;

    fn primary() -> Arc<Primary> {
        let parse =
            |url: &SecretString| Client::open(url.expose_secret()).map_err(|_| String::new());
        let url = ReloadableUrl::new(
            "REDIS_URL",
            &"redis://127.0.0.1".into(),
            parse,
            Box::new(|| None),
        );
        Primary::new(url.unwrap(), "lk", Duration::from_secs(1))
    }

    #[test]
    fn another_history_begins_a_generation() {
        let primary = primary();
        let first = primary.observe_history("a");
        assert_eq!(primary.observe_history("a"), first);
        primary
            .generation
            .send_modify(|current| current.changed_at = None);
        let second = primary.observe_history("b");
        assert!(second != first && Some(primary.generation()) == second);
    }

    #[test]
    fn history_of_two_primaries_does_not_alternate() {
        let primary = primary();
        let first = primary.observe_history("a");
        assert_eq!(primary.observe_history("b"), None);
        assert_eq!(primary.observe_history("a"), first);
        assert!(primary.abandon(first.unwrap()));
        assert!(
            primary.observe_history("b").is_some(),
            "the first one rejected writes"
        );
    }

    #[test]
    fn generation_is_abandoned_once() {
        let primary = primary();
        let first = primary.observe_history("a");
        assert!(primary.abandon(first.unwrap()));
        let second = primary.observe_history("a");
        assert!(!primary.abandon(first.unwrap()));
        assert_eq!(
            Some(primary.generation()),
            second,
            "another caller has abandoned the first one"
        );
        assert_ne!(first, second);
    }
}
