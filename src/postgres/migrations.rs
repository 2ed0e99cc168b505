//! Migrations: `sql/migrations/NNNN_name.sql`, in order, each in one transaction, applied by the
//! replica that starts first, or by `latchkey migrate`. They are backward compatible (expand-only),
//! so that replicas of the previous release continue to work.
//!
//! A server whose database is up to date creates nothing, so its role needs no right to create
//! tables.

mod error;

use std::time::{Duration, Instant};

use refinery::{Migration, Runner};

pub use error::MigrationError;

use super::{
    Postgres,
    connect::{Connector, PrimaryClient},
    pools::SESSION_SETTINGS,
};

const READ_ENCODING: &str = include_str!("../../sql/queries/read_encoding.sql");
const FIND_HISTORY: &str = include_str!("../../sql/queries/find_migration_history.sql");
const LOCK_MIGRATIONS: &str = include_str!("../../sql/queries/lock_migrations.sql");

/// Every migration, in order: the file name without its extension, and the text.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001_initial",
        include_str!("../../sql/migrations/0001_initial.sql"),
    ),
    (
        "0002_indexes",
        include_str!("../../sql/migrations/0002_indexes.sql"),
    ),
    (
        "0003_partition_functions",
        include_str!("../../sql/migrations/0003_partition_functions.sql"),
    ),
    (
        "0004_database_id",
        include_str!("../../sql/migrations/0004_database_id.sql"),
    ),
    (
        "0005_email_delivery",
        include_str!("../../sql/migrations/0005_email_delivery.sql"),
    ),
    (
        "0006_reserved_names",
        include_str!("../../sql/migrations/0006_reserved_names.sql"),
    ),
    (
        "0007_password_change_required",
        include_str!("../../sql/migrations/0007_password_change_required.sql"),
    ),
    (
        "0008_sessions_of_user",
        include_str!("../../sql/migrations/0008_sessions_of_user.sql"),
    ),
    (
        "0009_groups",
        include_str!("../../sql/migrations/0009_groups.sql"),
    ),
    (
        "0010_audit_search",
        include_str!("../../sql/migrations/0010_audit_search.sql"),
    ),
    (
        "0011_applications",
        include_str!("../../sql/migrations/0011_applications.sql"),
    ),
];

/// ID of the advisory lock of migrations (ASCII "LATCHKEY").
const MIGRATION_LOCK_ID: i64 = 0x4c41_5443_484b_4559;

/// The longest wait for another process that is migrating, or that has locked a table.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(60);

/// The delay between two attempts to lock a table.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Settings of the session that migrates. While a statement waits for the lock of a table, all
/// other statements on the table wait behind it, so it gives up early.
const MIGRATION_SETTINGS: &str = "set lock_timeout = 300; set statement_timeout = 0; \
    set idle_in_transaction_session_timeout = 0;";

impl Postgres {
    /// Applies missing migrations and returns their names. If there are none, it changes nothing.
    ///
    /// # Errors
    /// If PostgreSQL is unreachable, or this version can't use its database.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let settings = format!("{SESSION_SETTINGS} {MIGRATION_SETTINGS}");
        let connector = Connector::new(self.locator.clone(), settings);
        let mut session = MigrationClient(connector.connect().await?);
        let timeout = self.timeouts.transaction;
        let is_current = async {
            session.require_utf8().await?;
            is_current(&mut session.0).await
        };
        if limit(timeout, is_current).await? {
            return Ok(Vec::new());
        }
        // Replicas that start together wait for each other, because the library takes no lock. The
        // lock ends with its transaction, so no connection pooler or crash can keep it.
        let mut lock = MigrationClient(connector.connect().await?);
        let lock = limit(MAX_LOCK_WAIT + timeout, lock.lock()).await?;
        let applied = session.apply().await;
        drop(lock);
        applied
    }
}

/// Limits the time of statements, because a server can hang without closing the connection.
async fn limit<T>(
    time: Duration,
    statements: impl Future<Output = Result<T, MigrationError>>,
) -> Result<T, MigrationError> {
    tokio::time::timeout(time, statements)
        .await
        .unwrap_or_else(|_| Err(MigrationError::Unreachable("PostgreSQL timed out".into())))
}

/// A connection outside of the pools, with its own settings.
struct MigrationClient(PrimaryClient);

impl MigrationClient {
    /// Rejects other encodings, because text of users can contain every character.
    async fn require_utf8(&self) -> Result<(), MigrationError> {
        let row = self.0.query_one(READ_ENCODING, &[]).await?;
        let encoding: String = row.try_get(0)?;
        if encoding == "UTF8" {
            Ok(())
        } else {
            Err(MigrationError::Encoding(encoding))
        }
    }

    /// Waits until no other process migrates. The lock is held until the result is dropped.
    async fn lock(&mut self) -> Result<deadpool_postgres::Transaction<'_>, MigrationError> {
        let transaction = self.0.transaction().await?;
        transaction
            .batch_execute(&format!(
                "set local lock_timeout = {}",
                MAX_LOCK_WAIT.as_millis()
            ))
            .await?;
        transaction
            .query(LOCK_MIGRATIONS, &[&MIGRATION_LOCK_ID])
            .await?;
        Ok(transaction)
    }

    /// Applies missing migrations. Repeats the attempt while a table is locked.
    async fn apply(&mut self) -> Result<Vec<String>, MigrationError> {
        let (runner, began) = (build_runner(), Instant::now());
        let mut applied = Vec::new();
        let mut is_logged = false;
        loop {
            let outcome = runner.run_async(&mut **self.0).await;
            let report = match &outcome {
                Ok(report) => Some(report),
                Err(error) => error.report(),
            };
            let migrations = report
                .into_iter()
                .flat_map(|report| report.applied_migrations());
            applied.extend(migrations.map(ToString::to_string));
            match outcome.map_err(MigrationError::from) {
                Ok(_) => return Ok(applied),
                Err(MigrationError::Locked) if began.elapsed() < MAX_LOCK_WAIT => {}
                Err(error) => return Err(error),
            }
            if !std::mem::replace(&mut is_logged, true) {
                tracing::warn!("table lock timed out; retrying migration");
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}

/// Returns whether every migration of this version was applied. Migrations of a newer version might
/// have been applied as well; they are backward compatible.
pub(super) async fn is_current(client: &mut PrimaryClient) -> Result<bool, MigrationError> {
    let row = client.query_one(FIND_HISTORY, &[]).await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let runner = build_runner();
    let applied = runner.get_applied_migrations_async(&mut ***client).await?;
    let mut is_current = true;
    for migration in runner.get_migrations() {
        match applied
            .iter()
            .find(|applied| applied.version() == migration.version())
        {
            Some(applied) if applied == migration => {}
            Some(_different) => return Err(MigrationError::Outdated),
            None => is_current = false,
        }
    }
    Ok(is_current)
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
