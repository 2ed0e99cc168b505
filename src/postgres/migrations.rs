//! Migrations: `sql/migrations/NNNN_name.sql`, in order, each in one transaction, applied by
//! whichever replica comes first. They only ever expand, so that the release before keeps working
//! beside the new one.

use std::fmt;

use refinery::{Migration, Runner};

use super::Postgres;

/// Every migration, in order: the file's name without its ending, and its text.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001_first",
        include_str!("../../sql/migrations/0001_first.sql"),
    ),
    (
        "0002_sessions_users_audit",
        include_str!("../../sql/migrations/0002_sessions_users_audit.sql"),
    ),
    (
        "0003_leases",
        include_str!("../../sql/migrations/0003_leases.sql"),
    ),
    (
        "0004_keys",
        include_str!("../../sql/migrations/0004_keys.sql"),
    ),
    (
        "0005_clients_tokens",
        include_str!("../../sql/migrations/0005_clients_tokens.sql"),
    ),
    (
        "0006_email_origin",
        include_str!("../../sql/migrations/0006_email_origin.sql"),
    ),
];

/// An arbitrary number that stands for "migrating Latchkey" among the advisory locks of the
/// database.
const LOCK: i64 = 0x4c41_5443_484b_4559;

/// Why migrations could not be applied.
#[derive(Debug)]
pub enum MigrationError {
    /// PostgreSQL cannot be reached or broke off; trying again may help.
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// A migration failed, or what was applied before is not what this version knows.
    Failed(refinery::Error),
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MigrationError::Unreachable(_) => {
                f.write_str("PostgreSQL cannot be reached; check DATABASE_URL")
            }
            MigrationError::Failed(_) => f.write_str(
                "the database could not be migrated; was it last used by a newer version?",
            ),
        }
    }
}

impl std::error::Error for MigrationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MigrationError::Unreachable(error) => Some(error.as_ref()),
            MigrationError::Failed(error) => Some(error),
        }
    }
}

impl From<tokio_postgres::Error> for MigrationError {
    fn from(error: tokio_postgres::Error) -> Self {
        MigrationError::Unreachable(error.into())
    }
}

impl Postgres {
    /// Applies what is missing and returns the names of what was applied. Replicas that start
    /// together wait for each other: the tool takes no lock itself. The connection is a direct one,
    /// since a session lock must not be pooled.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let (mut client, connection) = self
            .address
            .settings
            .connect(self.address.tls.clone())
            .await?;
        let connection = tokio::spawn(connection);
        // Another replica may be migrating; a lock that is not given back in time is asked for
        // again.
        client.batch_execute("set lock_timeout = '60s'").await?;
        client
            .execute("select pg_advisory_lock($1)", &[&LOCK])
            .await?;
        client.batch_execute("set lock_timeout = 0").await?;
        let report = runner().run_async(&mut client).await;
        let lost = client.is_closed();
        // Closing the connection gives the lock back, whatever happened.
        drop(client);
        let _ = connection.await;
        match report {
            Err(error) if lost => Err(MigrationError::Unreachable(error.into())),
            Ok(report) => Ok(report
                .applied_migrations()
                .iter()
                .map(ToString::to_string)
                .collect()),
            Err(error) => Err(MigrationError::Failed(error)),
        }
    }
}

fn runner() -> Runner {
    let migration = |(name, sql): &(&str, &str)| {
        let (number, name) = name.split_once('_').expect("named NNNN_name");
        let number: u32 = number.parse().expect("named NNNN_name");
        Migration::unapplied(&format!("V{number}__{name}"), sql).expect("a well-formed name")
    };
    // A newer version may have migrated already: what it added is there beside what this one knows.
    Runner::new(&MIGRATIONS.iter().map(migration).collect::<Vec<_>>()).set_abort_missing(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_once_and_in_order() {
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
        runner();
    }
}
