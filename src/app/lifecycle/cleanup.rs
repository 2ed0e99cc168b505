//! The cleanup worker: deletes expired rows and creates the next partitions of the audit log. One
//! replica at a time does it. Each batch is a short transaction, so an interrupted run leaves
//! nothing half done.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strum::VariantArray;

use crate::{
    app::{clock::Clock, keys::Keys, revocation::Revocations},
    config::Config,
    error::{Chain, Error},
    postgres::{CLEANUP_BATCH_SIZE, ExpiredRows, Postgres},
};

/// The delay of the first run, so that it doesn't compete with the start.
const FIRST_RUN_DELAY: Duration = Duration::from_secs(1);

/// The pause between two batches, which leaves capacity for requests.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Deletes expired rows.
pub(crate) struct CleanupWorker {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) settings: CleanupSettings,
}

/// The settings of the cleanup worker.
pub(crate) struct CleanupSettings {
    interval: Duration,
    audit_retention: Duration,
}

impl CleanupSettings {
    pub(crate) fn new(config: &Config) -> CleanupSettings {
        CleanupSettings {
            interval: config.cleanup_interval,
            audit_retention: config.audit_retention,
        }
    }
}

impl CleanupWorker {
    /// Runs until the process exits.
    pub(crate) async fn run(self) {
        let mut delay = FIRST_RUN_DELAY.min(self.settings.interval);
        loop {
            tokio::time::sleep(delay).await;
            delay = self.settings.interval;
            let began = Instant::now();
            match self.run_once().await {
                Ok(()) => metrics::gauge!("latchkey_cleanup_last_success_timestamp_seconds")
                    .set(self.clock.now() as f64),
                // The next run, on this or another replica, retries.
                Err(error) => tracing::warn!(error = %Chain(&error), "cleanup failed"),
            }
            metrics::gauge!("latchkey_cleanup_run_seconds").set(began.elapsed().as_secs_f64());
        }
    }

    /// Deletes everything that has expired. A failure doesn't skip the other kinds.
    async fn run_once(&self) -> Result<(), Error> {
        self.keys.reseal_keys().await;
        let mut outcome = self.postgres.create_audit_partitions().await;
        for kind in ExpiredRows::VARIANTS {
            outcome = outcome.and(self.delete_all(*kind).await);
        }
        let dropped = self
            .postgres
            .drop_audit_partitions(self.settings.audit_retention)
            .await;
        outcome.and(dropped.map(|months| count("audit_months", months.unwrap_or(0))))
    }

    /// Deletes batch by batch until no expired row is left, or another replica does it.
    async fn delete_all(&self, kind: ExpiredRows) -> Result<(), Error> {
        while let Some(deleted) = self.delete_batch(kind).await? {
            count(kind.into_str(), deleted);
            if deleted < CLEANUP_BATCH_SIZE.unsigned_abs() {
                break;
            }
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
        Ok(())
    }

    async fn delete_batch(&self, kind: ExpiredRows) -> Result<Option<u64>, Error> {
        self.postgres
            .purge_expired(
                kind,
                self.settings.audit_retention,
                self.revocations.published_until(),
            )
            .await
    }
}

fn count(kind: &'static str, removed: u64) {
    metrics::counter!("latchkey_cleanup_removed_total", "kind" => kind).increment(removed);
}
