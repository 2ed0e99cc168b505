//! The start of a replica: applies migrations, compares the issuer with that of the database, reads
//! the database ID, and loads the signing keys. While PostgreSQL is unavailable, the process runs,
//! reports not ready, and retries.

use std::time::Duration;

use crate::{
    app::lifecycle::{Lifecycle, migrate},
    error::{Chain, Diagnosis, Error, find_cause},
    postgres::{self, MigrationError},
};

/// The delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// An error because of which a replica can't run. A retry would not help.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database was created with another issuer.
    #[error("LATCHKEY_ISSUER differs from the issuer of this database ({stored})")]
    OtherIssuer {
        /// The issuer that the database contains.
        stored: String,
    },
    /// A current or next signing key in PostgreSQL is encrypted with another secret.
    #[error(
        "LATCHKEY_SECRET can't decrypt a signing key of this database, because the key is encrypted \
         with another secret"
    )]
    OtherSecret,
    /// This version can't use the database.
    #[error(transparent)]
    Migration(MigrationError),
}

impl StartError {
    /// How the operator can fix it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StartError::OtherIssuer { .. } => Some(
                "set LATCHKEY_ISSUER to the issuer of the database, or use another database; the \
                 issuer of a database can't change",
            ),
            StartError::OtherSecret => Some(
                "set the same LATCHKEY_SECRET for all replicas; during rotation, set both secrets, \
                 separated by a comma",
            ),
            StartError::Migration(error) => error.hint(),
        }
    }
}

/// The failure of an attempt to start.
#[derive(Debug)]
pub enum StartupError {
    /// A retry might help.
    Retryable(Box<dyn std::error::Error + Send + Sync>),
    /// A retry would not help.
    Fatal(StartError),
}

impl From<MigrationError> for StartupError {
    fn from(error: MigrationError) -> Self {
        match error {
            MigrationError::Unreachable(_) | MigrationError::Locked => {
                StartupError::Retryable(error.into())
            }
            MigrationError::Outdated | MigrationError::Encoding(_) | MigrationError::Failed(_) => {
                StartupError::Fatal(StartError::Migration(error))
            }
        }
    }
}

impl From<Error> for StartupError {
    fn from(error: Error) -> Self {
        StartupError::Retryable(error.into())
    }
}

/// Returns the cause and the fix of a failure for which a retry might help: all of them come from
/// PostgreSQL.
fn diagnose(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Diagnosis {
    if let Some(error) = find_cause::<MigrationError>(error) {
        return error.diagnosis();
    }
    match find_cause::<Error>(error) {
        Some(error) => postgres::diagnose(error),
        None => Diagnosis::new(
            format!("The start has failed: {}.", Chain(error)),
            "See the log of this replica.",
        ),
    }
}

impl Lifecycle {
    /// Prepares this replica. Retries as long as a store is unavailable.
    ///
    /// # Errors
    /// If this replica can't run with its settings or with this database.
    pub async fn start(&self) -> Result<(), StartError> {
        if !self.settings.has_rate_limits {
            tracing::warn!("LATCHKEY_RATE_LIMITS is off: sign-in attempts are not limited");
        }
        let mut logged_reason = String::new();
        loop {
            match self.try_start().await {
                Ok(()) => {
                    self.phase.set_failure(None);
                    // The first request then finds a log. If Redis is down, the lease worker
                    // rebuilds it later.
                    let _ = self.revocations.rebuild_log(|| {}).await;
                    self.keys.reseal_keys().await;
                    self.begin_serving();
                    return Ok(());
                }
                Err(StartupError::Fatal(error)) => return Err(error),
                Err(StartupError::Retryable(error)) => {
                    // One log line per reason, not per attempt.
                    let reason = Chain(error.as_ref()).to_string();
                    self.phase.set_failure(Some(diagnose(error.as_ref())));
                    if reason != logged_reason {
                        tracing::warn!(error = reason, "startup failed; retrying");
                        logged_reason = reason;
                    }
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Prepares this replica once, without retries.
    ///
    /// # Errors
    /// If a store is unavailable, or this replica can't run.
    pub async fn try_start(&self) -> Result<(), StartupError> {
        migrate::run(&self.postgres).await?;
        let shared = self.postgres.agree_on_settings(&self.policy.issuer).await?;
        if shared.issuer != self.policy.issuer {
            let stored = shared.issuer;
            return Err(StartupError::Fatal(StartError::OtherIssuer { stored }));
        }
        self.redis.set_database(shared.database_id);
        match self.keys.load_or_create_keys().await? {
            true => {}
            false => return Err(StartupError::Fatal(StartError::OtherSecret)),
        }
        self.applications.load_or_create().await?;
        Ok(())
    }
}
