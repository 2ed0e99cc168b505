//! Reasons why there is no connection, each with its cause and its fix.

use deadpool_redis::redis::RedisError;

use super::{
    driver_error::{
        diagnose_cluster_node, diagnose_follower, diagnose_older_version, diagnose_redis_error,
        is_authentication_failure,
    },
    previous_layout::OlderVersionError,
};
use crate::error::{Chain, Diagnosis, Error, find_cause};

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
            RedisConnectError::Follower => diagnose_follower(),
            RedisConnectError::Sentinel => Diagnosis::new(
                "`REDIS_URL` leads to a Sentinel.",
                "Set `REDIS_URL` to the URL of the primary, or of a proxy that follows it.",
            ),
            RedisConnectError::ClusterNode => diagnose_cluster_node(),
            RedisConnectError::Version(version) => Diagnosis::new(
                format!(
                    "Redis 7.0 or later, or Valkey, is required; this is {}.",
                    if version.is_empty() {
                        "an unknown version"
                    } else {
                        version
                    }
                ),
                "Upgrade Redis.",
            ),
            RedisConnectError::NoInfo => Diagnosis::new(
                "This Redis does not let scripts run `INFO`. Latchkey can't use it.",
                "Grant the Redis user the command `INFO`, or use another Redis.",
            ),
            RedisConnectError::Denied(commands) => {
                let commands = commands.join("`, `");
                Diagnosis::new(
                    format!("The Redis user lacks the right to run `{commands}`."),
                    "Grant the Redis user these commands, and the keys and channels with \
                     `LATCHKEY_REDIS_PREFIX`.",
                )
            }
            RedisConnectError::TwoPrimaries => Diagnosis::new(
                "`REDIS_URL` leads to two primaries in turn.",
                "Make sure that a deposed primary is not reachable.",
            ),
            RedisConnectError::NoTls => Diagnosis::new(
                "Redis does not accept TLS on this port.",
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

/// Returns the cause and the fix of a failed operation.
pub fn diagnose(error: &Error) -> Diagnosis {
    if let Some(error) = find_cause::<RedisConnectError>(error) {
        return error.diagnosis();
    }
    if let Some(error) = find_cause::<RedisError>(error) {
        return diagnose_redis_error(error);
    }
    if let Some(error) = find_cause::<OlderVersionError>(error) {
        return diagnose_older_version(*error);
    }
    if find_cause::<RedisTimedOut>(error).is_some() {
        return Diagnosis::new(
            "Redis did not respond within `LATCHKEY_REDIS_TIMEOUT`.",
            "Check the Redis server, its load, and the network.",
        );
    }
    Diagnosis::new(
        format!("An operation of Redis failed: {}.", Chain(error)),
        "See the log of this replica.",
    )
}
