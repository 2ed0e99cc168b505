//! Reasons why there is no connection, as sentences for operators.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::target::HostAddress;

/// The reason why no connection was opened. Several callers can receive the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The server or the network reported an error.
    #[error("connecting to PostgreSQL at {0} failed")]
    Failed(HostAddress, #[source] Arc<tokio_postgres::Error>),
    /// The name of the host has no address.
    #[error("the host name in DATABASE_URL can't be resolved: {0}")]
    Unresolved(HostAddress, #[source] Arc<std::io::Error>),
    /// The server doesn't accept writes.
    #[error(
        "PostgreSQL at {0} is a standby; add the primary to DATABASE_URL or promote the standby"
    )]
    Standby(HostAddress),
    /// The server rejects writes, although it is the primary.
    #[error(
        "PostgreSQL at {0} accepts no writes, because default_transaction_read_only is on; set it to \
         off"
    )]
    ReadOnly(HostAddress),
    /// The server was the primary before a failover.
    #[error("PostgreSQL at {0} is a deposed primary; stop it, and make it a standby")]
    Deposed(HostAddress),
    /// The server doesn't respond.
    #[error(
        "PostgreSQL at {0} did not respond within LATCHKEY_DATABASE_CONNECT_TIMEOUT; check the \
         server and DATABASE_URL"
    )]
    TimedOut(HostAddress),
    /// The host name leads to another address.
    #[error("the host name in DATABASE_URL has another address than before: {0}")]
    Moved(HostAddress),
    /// The attempt was interrupted.
    #[error("connecting to PostgreSQL was interrupted")]
    Interrupted,
}

impl ConnectError {
    /// Returns whether the server rejected the credentials (SQLSTATE 28P01 or 28000).
    pub(super) fn is_authentication_failure(&self) -> bool {
        let ConnectError::Failed(_, error) = self else {
            return false;
        };
        matches!(
            error.code(),
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        )
    }
}
