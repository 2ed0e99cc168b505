//! Migrations: `sql/migrations/NNNN_name.sql`, in order, each in one transaction, applied by the
//! replica that starts first. They are backward compatible (expand-only), so that replicas of the
//! previous release continue to work.

use refinery::{Migration, Runner, error::Kind};

use super::Postgres;

/// Every migration, in order: the file name without its extension, and the text.
const MIGRATIONS: &[(&str, &str)] = &[(
    "0001_initial",
    include_str!("../../sql/migrations/0001_initial.sql"),
)];

/// ID of the advisory lock of migrations (ASCII "LATCHKEY").
const MIGRATION_LOCK_ID: i64 = 0x4c41_5443_484b_4559;

/// A failure to apply migrations.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// PostgreSQL is unreachable, or the connection broke; retrying might help.
    #[error("PostgreSQL is unreachable; check DATABASE_URL")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Migrations of an older development version were applied.
    #[error(
        "the database was created by an older development version, whose data can't be migrated; \
         create an empty database and set DATABASE_URL to it"
    )]
    Outdated,
    /// A migration failed.
    #[error(
        "a migration failed; check that the role can create tables, and that no newer version has \
         used the database"
    )]
    Failed(#[source] refinery::Error),
}

impl From<tokio_postgres::Error> for MigrationError {
    fn from(error: tokio_postgres::Error) -> Self {
        MigrationError::Unreachable(error.into())
    }
}

impl Postgres {
    /// Applies missing migrations and returns their names. Replicas that start together wait for
    /// each other, because the library takes no lock. The connection is not pooled, because it
    /// holds a session lock.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let (mut client, connection) = self
            .connection_settings
            .config
            .connect(self.connection_settings.tls.clone())
            .await?;
        let connection = tokio::spawn(connection);
        // Another replica might be migrating. After a timeout, the start is retried.
        client.batch_execute("set lock_timeout = '60s'").await?;
        client
            .execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK_ID])
            .await?;
        client.batch_execute("set lock_timeout = 0").await?;
        let report = build_runner().run_async(&mut client).await;
        let is_disconnected = client.is_closed();
        // Closing the connection releases the lock.
        drop(client);
        let _ = connection.await;
        match report {
            Err(error) if is_disconnected => Err(MigrationError::Unreachable(error.into())),
            Ok(report) => Ok(report
                .applied_migrations()
                .iter()
                .map(ToString::to_string)
                .collect()),
            Err(error) if matches!(error.kind(), Kind::DivergentVersion(..)) => {
                Err(MigrationError::Outdated)
            }
            Err(error) => Err(MigrationError::Failed(error)),
        }
    }
}

fn build_runner() -> Runner {
    let migration = |(name, sql): &(&str, &str)| {
        let (number, name) = name.split_once('_').expect("a name NNNN_name");
        let number: u32 = number.parse().expect("a number");
        Migration::unapplied(&format!("V{number}__{name}"), sql).expect("a valid name")
    };
    // Migrations of a newer version might have been applied already; they are backward compatible.
    Runner::new(&MIGRATIONS.iter().map(migration).collect::<Vec<_>>()).set_abort_missing(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_list_every_file_once_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| {
                file.unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        files.sort();
        assert_eq!(
            files,
            MIGRATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        build_runner();
    }
}
