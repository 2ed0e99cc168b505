//! The cause and the fix of errors of the driver.

use std::{error::Error as StdError, io, sync::Arc};

use deadpool_redis::redis::{ErrorKind, RedisError};

use super::previous_layout::OlderVersionError;
use crate::error::Diagnosis;

/// Returns the cause and the fix while an older version prevents the use of Redis.
pub(super) fn diagnose_older_version(error: OlderVersionError) -> Diagnosis {
    match error {
        OlderVersionError::InUse => Diagnosis::new(
            "Replicas of an older version of Latchkey use this Redis, so revocations would not \
             reach them.",
            "Stop all replicas of the older version. If they belong to another deployment, set \
             another `LATCHKEY_REDIS_PREFIX`.",
        ),
        OlderVersionError::Mixed => Diagnosis::new(
            "Replicas of an older version of Latchkey have used this Redis after replicas of this \
             version, so it contains outdated sessions.",
            "Stop all replicas, empty the Redis database, and start the replicas of one version.",
        ),
    }
}

/// Returns the cause and the fix of an error of the driver.
pub(super) fn diagnose_redis_error(error: &RedisError) -> Diagnosis {
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
        Some("OLDERREPLICAS") => diagnose_older_version(OlderVersionError::InUse),
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
        Some("READONLY" | "NOTPRIMARY" | "MASTERDOWN") => diagnose_follower(),
        Some("CLUSTERDOWN") => Diagnosis::new(
            "The Redis Cluster is down.",
            "Check the nodes of the cluster.",
        ),
        Some("MOVED" | "ASK" | "CROSSSLOT") => diagnose_cluster_node(),
        Some(code) => Diagnosis::new(
            format!("Redis returned the error {code}: {}.", detail(error)),
            "See the log of Redis.",
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
            "Check that `REDIS_URL` names the TLS port, that the certificate of Redis contains its \
             host, and that this machine trusts the certificate.",
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

/// Returns the text of an error response, without its code. Redis repeats the arguments of an
/// unknown command, for example the password of `HELLO`.
fn detail(error: &RedisError) -> &str {
    let text = error.detail().unwrap_or_default();
    let text = text.split(", with args beginning with").next();
    text.unwrap_or_default().trim_end_matches('.')
}

fn first_line(error: &RedisError) -> String {
    let text = error.to_string();
    let text = text
        .split(", with args beginning with")
        .next()
        .unwrap_or_default();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

/// Returns the fix of a URL that leads to a follower.
pub(super) fn diagnose_follower() -> Diagnosis {
    Diagnosis::new(
        "`REDIS_URL` leads to a follower.",
        "Set `REDIS_URL` to the URL of the primary.",
    )
}

/// Returns the fix of a URL that leads to a node of a cluster.
pub(super) fn diagnose_cluster_node() -> Diagnosis {
    Diagnosis::new(
        "`REDIS_URL` leads to a node of a Redis Cluster.",
        "Set `REDIS_URL` to the URL of a Redis without cluster mode.",
    )
}

/// Returns whether Redis rejected the credentials.
pub(super) fn is_authentication_failure(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
