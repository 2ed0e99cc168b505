//! The settings of commands that don't need all of them.

use std::{net::SocketAddr, time::Duration};

use super::{ConfigError, LogFilter, SETTINGS, Setting, Source, StoreUrl, declaration::Draft};

/// The settings of a command that needs only PostgreSQL. It has no `Debug`, because it contains a
/// secret.
pub struct DatabaseConfig {
    /// The URL of PostgreSQL.
    pub database_url: StoreUrl,
    /// The timeout of a transaction.
    pub database_timeout: Duration,
    /// The timeout of an attempt to connect.
    pub database_connect_timeout: Duration,
    /// The filter of the log.
    pub log: LogFilter,
}

impl DatabaseConfig {
    const VARIABLES: [&str; 4] = [
        "DATABASE_URL",
        "LATCHKEY_DATABASE_TIMEOUT",
        "LATCHKEY_DATABASE_CONNECT_TIMEOUT",
        "LATCHKEY_LOG",
    ];

    /// Reads and validates these settings. Other settings can be absent or invalid, but unknown
    /// settings are errors.
    ///
    /// # Errors
    /// All configuration errors, not only the first.
    pub fn load(source: &Source) -> Result<DatabaseConfig, Vec<ConfigError>> {
        let (draft, errors) = load_only(source, &Self::VARIABLES);
        let config = || {
            Some(DatabaseConfig {
                database_url: draft.database_url?,
                database_timeout: draft.database_timeout?,
                database_connect_timeout: draft.database_connect_timeout?,
                log: draft.log?,
            })
        };
        match config() {
            Some(config) if errors.is_empty() => Ok(config),
            _invalid => Err(errors),
        }
    }
}

/// The settings of a command that needs only the listeners of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenConfig {
    /// The bind address of the API.
    pub listen: SocketAddr,
    /// The bind address of the metrics listener.
    pub metrics_listen: SocketAddr,
}

impl ListenConfig {
    const VARIABLES: [&str; 2] = ["LATCHKEY_LISTEN", "LATCHKEY_METRICS_LISTEN"];

    /// Reads and validates these settings. Other settings can be absent or invalid, but unknown
    /// settings are errors.
    ///
    /// # Errors
    /// All configuration errors, not only the first.
    pub fn load(source: &Source) -> Result<ListenConfig, Vec<ConfigError>> {
        let (draft, errors) = load_only(source, &Self::VARIABLES);
        match (draft.listen, draft.metrics_listen) {
            (Some(listen), Some(metrics_listen)) if errors.is_empty() => Ok(ListenConfig {
                listen,
                metrics_listen,
            }),
            _invalid => Err(errors),
        }
    }
}

/// Reads all settings. Returns the errors of these settings, and of sources and unknown settings.
fn load_only(source: &Source, variables: &[&str]) -> (Draft, Vec<ConfigError>) {
    let (draft, mut errors) = Draft::load(source);
    errors.retain(|error| {
        let is_of = |setting: &Setting| setting.variable == error.variable;
        variables.contains(&error.variable) || !SETTINGS.iter().any(is_of)
    });
    (draft, errors)
}
