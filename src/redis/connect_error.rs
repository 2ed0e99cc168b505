//! Failures of connections and commands, each with its cause and its fix.

use std::{error::Error as StdError, io, sync::Arc};

use deadpool_redis::redis::{ErrorKind, RedisError};

use super::previous_version::PreviousVersionInUse;
use crate::error::{Chain, Diagnosis, Error};

/// The reason why there is no connection. Several callers can receive the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.diagnosis())]
pub(super) enum RedisConnectError {
    /// The server or the network reported an error.
    Failed(RedisError),
    /// The server is a follower.
    Follower,
    /// The server is a Sentinel, which contains no data.
    Sentinel,
    /// The server is a node of a Redis Cluster, which contains a part of the data.
    ClusterNode,
    /// The version is too old.
    Version(String),
    /// Scripts can't read the state of the server.
    NoInfo,
    /// The user may not run these commands.
    Denied(Vec<String>),
    /// Another server is the primary as well.
    TwoPrimaries,
    /// The server responds only without TLS.
    NoTls,
    /// The server doesn't respond.
    TimedOut,
    /// The attempt was interrupted.
    Interrupted,
}

impl From<RedisError> for RedisConnectError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("MOVED" | "ASK") => RedisConnectError::ClusterNode,
            _other => RedisConnectError::Failed(error),
        }
    }
}

impl RedisConnectError {
    /// Returns whether Redis rejected the credentials.
    pub fn is_authentication_failure(&self) -> bool {
        matches!(self, RedisConnectError::Failed(error) if is_authentication_failure(error))
    }

    /// Returns the cause and its fix.
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            RedisConnectError::Failed(error) => diagnose_redis_error(error),
            RedisConnectError::Follower => Diagnosis::new(
                "`REDIS_URL` names a follower.",
                "Set `REDIS_URL` to the URL of the primary.",
            ),
            RedisConnectError::Sentinel => Diagnosis::new(
                "`REDIS_URL` names a Sentinel.",
                "Set `REDIS_URL` to the URL of the primary, or of a proxy that follows it.",
            ),
            RedisConnectError::ClusterNode => Diagnosis::new(
                "`REDIS_URL` names a node of a Redis Cluster.",
                "Set `REDIS_URL` to the URL of a Redis without cluster mode.",
            ),
            RedisConnectError::Version(version) => Diagnosis::new(
                format!("Redis 7.0 or Valkey is required; this is {version}."),
                "Upgrade Redis.",
            ),
            RedisConnectError::NoInfo => Diagnosis::new(
                "This Redis does not let scripts run `INFO`, so Latchkey cannot use it.",
                "Grant the Redis user the command `INFO`, or use another Redis.",
            ),
            RedisConnectError::Denied(commands) => {
                let commands = commands.join("`, `");
                Diagnosis::new(
                    format!("The Redis user may not run `{commands}` on keys of Latchkey."),
                    "Grant the Redis user these commands and the keys with \
                     `LATCHKEY_REDIS_PREFIX`.",
                )
            }
            RedisConnectError::TwoPrimaries => Diagnosis::new(
                "`REDIS_URL` leads to two primaries in turn.",
                "Make sure that a deposed primary is not reachable.",
            ),
            RedisConnectError::NoTls => Diagnosis::new(
                "Redis does not speak TLS on this port.",
                "Set `REDIS_URL` to the TLS port of Redis, or use `redis://` on a private network.",
            ),
            RedisConnectError::TimedOut => Diagnosis::new(
                "Redis did not respond within `LATCHKEY_REDIS_CONNECT_TIMEOUT`.",
                "Check the Redis server, the network, and `REDIS_URL`.",
            ),
            RedisConnectError::Interrupted => Diagnosis::new(
                "Connecting to Redis was interrupted.",
                "Wait for the next attempt.",
            ),
        }
    }
}

/// An operation was not complete within its timeout.
#[derive(Debug, thiserror::Error)]
#[error("Redis did not respond within LATCHKEY_REDIS_TIMEOUT")]
pub(super) struct RedisTimedOut;

/// Returns whether Redis rejected the credentials.
pub(super) fn is_authentication_failure(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// Returns the cause and the fix of a failed operation.
pub(super) fn diagnose(error: &Error) -> Diagnosis {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<RedisConnectError>() {
            return error.diagnosis();
        }
        if let Some(error) = current.downcast_ref::<RedisError>() {
            return diagnose_redis_error(error);
        }
        if current.is::<PreviousVersionInUse>() {
            return Diagnosis::new(
                "Replicas of an older version of Latchkey use this Redis, so revocations would not \
                 reach them.",
                "Stop all replicas of the older version. If they belong to another installation, \
                 set another `LATCHKEY_REDIS_PREFIX`.",
            );
        }
        if current.is::<RedisTimedOut>() {
            return Diagnosis::new(
                "Redis did not respond within `LATCHKEY_REDIS_TIMEOUT`.",
                "Check the Redis server, its load, and the network.",
            );
        }
        cause = current.source();
    }
    Diagnosis::new(
        format!("An operation of Redis failed: {}.", Chain(error)),
        "See the log of this replica.",
    )
}

fn diagnose_redis_error(error: &RedisError) -> Diagnosis {
    match error.code() {
        Some("NOAUTH") => Diagnosis::new(
            "Redis requires a password.",
            "Add the username and the password to `REDIS_URL`.",
        ),
        _rejected if is_authentication_failure(error) => Diagnosis::new(
            "Redis rejected the password.",
            "Correct the username and the password in `REDIS_URL`.",
        ),
        Some("NOPERM") => Diagnosis::new(
            format!("Redis denied a command: {}.", detail(error)),
            "Grant the Redis user this command on the keys with `LATCHKEY_REDIS_PREFIX`.",
        ),
        Some("LOADING") => Diagnosis::new(
            "Redis is loading its data.",
            "Wait until Redis has started.",
        ),
        Some("OOM") => Diagnosis::new(
            "The memory of Redis is full.",
            "Increase `maxmemory` of Redis.",
        ),
        Some("MISCONF") => Diagnosis::new(
            "Redis rejects writes, because it can't save its data to the disk.",
            "Free space on the disk of Redis, and see the log of Redis.",
        ),
        Some("NOREPLICAS") => Diagnosis::new(
            "Redis rejects writes, because it has too few followers (`min-replicas-to-write`).",
            "Start the followers of Redis, or make sure that a deposed primary is not reachable.",
        ),
        Some("READONLY" | "NOTPRIMARY" | "MASTERDOWN") => RedisConnectError::Follower.diagnosis(),
        Some("CLUSTERDOWN") => Diagnosis::new(
            "The Redis Cluster is down.",
            "Check the nodes of the cluster.",
        ),
        Some("MOVED" | "ASK" | "CROSSSLOT") => RedisConnectError::ClusterNode.diagnosis(),
        Some(_) => Diagnosis::new(
            format!("Redis returned an error: {}.", detail(error)),
            "See the documentation of this error of Redis.",
        ),
        None => diagnose_connection(error),
    }
}

/// Returns the cause and the fix of an error that isn't a response of the server.
fn diagnose_connection(error: &RedisError) -> Diagnosis {
    if error.is_connection_refusal() {
        return Diagnosis::new(
            "The connection to Redis was refused.",
            "Start Redis, and check the host and the port of `REDIS_URL`.",
        );
    }
    // The driver wraps an error of TLS in an I/O error of this kind.
    if find_io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) {
        return Diagnosis::new(
            format!("The TLS connection to Redis failed: {}.", first_line(error)),
            "Add the certificate of Redis to the trusted certificates of this machine.",
        );
    }
    Diagnosis::new(
        format!("The connection to Redis failed: {}.", first_line(error)),
        "Check the Redis server, the network, and `REDIS_URL` (`rediss://` for TLS).",
    )
}

/// Returns the I/O error that the driver has wrapped.
fn find_io_error(error: &RedisError) -> Option<&io::Error> {
    let wrapped = error.source()?;
    let shared = wrapped.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    shared.downcast_ref()
}

/// Returns the text of an error response, without its code.
fn detail(error: &RedisError) -> &str {
    error.detail().unwrap_or_default().trim_end_matches('.')
}

fn first_line(error: &RedisError) -> String {
    let text = error.to_string();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}
