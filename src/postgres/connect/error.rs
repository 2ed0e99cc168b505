//! Reasons why there is no connection, as sentences for operators.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::{super::diagnosis::diagnose_driver_error, target::HostAddress};
use crate::error::Diagnosis;

/// The reason why no connection was opened. Several callers can receive the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.diagnosis())]
pub enum ConnectError {
    /// The server or the network reported an error.
    Failed(HostAddress, Arc<tokio_postgres::Error>),
    /// The name of the host has no address.
    Unresolved(HostAddress, Arc<std::io::Error>),
    /// The server doesn't accept writes.
    Standby(HostAddress),
    /// The server rejects writes, although it is the primary.
    ReadOnly(HostAddress),
    /// The server was the primary before a failover.
    Deposed(HostAddress),
    /// The server doesn't respond.
    TimedOut(HostAddress),
    /// The host name leads to another address.
    Moved(HostAddress),
    /// The attempt was interrupted.
    Interrupted,
}

impl ConnectError {
    /// Returns the cause and its fix.
    pub(in crate::postgres) fn diagnosis(&self) -> Diagnosis {
        match self {
            ConnectError::Failed(host, error) => {
                diagnose_driver_error(&format!("PostgreSQL at {host}"), error)
            }
            ConnectError::Unresolved(host, error) => Diagnosis::new(
                format!("The host name {host} in `DATABASE_URL` can't be resolved: {error}."),
                "Correct the host name, or check the name server.",
            ),
            ConnectError::Standby(host) => Diagnosis::new(
                format!("PostgreSQL at {host} is a standby."),
                "Add the primary to `DATABASE_URL`, or promote the standby.",
            ),
            ConnectError::ReadOnly(host) => Diagnosis::new(
                format!(
                    "PostgreSQL at {host} accepts no writes, because \
                     `default_transaction_read_only` is on."
                ),
                "Set `default_transaction_read_only` to `off` for the role and the database.",
            ),
            ConnectError::Deposed(host) => Diagnosis::new(
                format!("PostgreSQL at {host} is a deposed primary."),
                "Stop this server, and start it again as a standby of the primary.",
            ),
            ConnectError::TimedOut(host) => Diagnosis::new(
                format!(
                    "PostgreSQL at {host} did not respond within \
                     `LATCHKEY_DATABASE_CONNECT_TIMEOUT`."
                ),
                "Check the server, the network, and `DATABASE_URL`.",
            ),
            ConnectError::Moved(host) => Diagnosis::new(
                format!("The host name in `DATABASE_URL` no longer leads to {host}."),
                "Wait for the next attempt.",
            ),
            ConnectError::Interrupted => Diagnosis::new(
                "Connecting to PostgreSQL was interrupted.",
                "Wait for the next attempt.",
            ),
        }
    }

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
