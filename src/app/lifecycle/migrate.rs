//! Migrations, at the start of a replica or by `latchkey migrate`, which needs no other store.

use crate::{
    config::{ConfigError, DatabaseConfig},
    error::Chain,
    postgres::{MigrationError, Postgres, PostgresTimeouts},
};

/// Connections of a process that only migrates.
const MAX_CONNECTIONS: usize = 1;

/// Migrates the database of these settings.
pub struct Migrator(Postgres);

impl Migrator {
    /// Parses the URL without connecting.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn new(config: &DatabaseConfig) -> Result<Migrator, ConfigError> {
        let url = &config.database_url;
        let timeouts = PostgresTimeouts {
            transaction: config.database_timeout,
            connect: config.database_connect_timeout,
        };
        Postgres::new(url.url(), url.reader(), MAX_CONNECTIONS, timeouts, None)
            .map(Migrator)
            .map_err(|reason| ConfigError {
                variable: "DATABASE_URL",
                reason,
            })
    }

    /// Applies the migrations and returns their names.
    ///
    /// # Errors
    /// If PostgreSQL is unreachable, or this version can't use its database.
    pub async fn run(&self) -> Result<Vec<String>, MigrationError> {
        run(&self.0).await
    }
}

/// Applies the migrations and creates the partitions of the audit log. Returns the names of the
/// migrations that it applied.
pub(super) async fn run(postgres: &Postgres) -> Result<Vec<String>, MigrationError> {
    let applied = postgres.migrate().await?;
    // Without a partition, events are stored in the default partition. The cleanup worker retries.
    if let Err(error) = postgres.create_audit_partitions().await {
        tracing::warn!(error = %Chain(&error), "creating audit partitions failed");
    }
    Ok(applied)
}
