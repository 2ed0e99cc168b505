//! The janitor: removes what is over, and makes room for what comes. Any replica does it, one at a
//! time; a batch is one short transaction, so that whatever stops it, a crash or the end of the
//! process, leaves no half of anything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    app::Gateway,
    error::{Chain, Error},
    postgres::{BATCH, ExpiredRows},
};

/// After the start: soon, but not while everything else starts too.
const FIRST_RUN_DELAY: Duration = Duration::from_secs(1);

/// Between two batches, for whoever else wants the store.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

impl Gateway {
    /// Tidies up until the process ends.
    pub async fn run_cleanup_worker(self: Arc<Self>) {
        let mut wait = FIRST_RUN_DELAY.min(self.config.cleanup_interval);
        loop {
            tokio::time::sleep(wait).await;
            wait = self.config.cleanup_interval;
            let began = Instant::now();
            match self.clean_up_once().await {
                Ok(()) => metrics::gauge!("latchkey_cleanup_last_success_timestamp_seconds")
                    .set(self.clock.now() as f64),
                // The next run, here or elsewhere, tries again.
                Err(error) => tracing::warn!(error = %Chain(&error), "cleanup failed"),
            }
            metrics::gauge!("latchkey_cleanup_run_seconds").set(began.elapsed().as_secs_f64());
        }
    }

    /// All that is over. One thing that fails keeps no other from being done.
    async fn clean_up_once(&self) -> Result<(), Error> {
        self.reseal_keys().await;
        let mut outcome = self.postgres.create_audit_partitions().await;
        for of in ExpiredRows::ALL {
            outcome = outcome.and(self.delete_all(of).await);
        }
        let dropped = self
            .postgres
            .drop_audit_partitions(self.config.audit_retention)
            .await;
        outcome.and(dropped.map(|months| count("audit_months", months.unwrap_or(0))))
    }

    /// Batch by batch, until there is nothing more, or another replica is about it.
    async fn delete_all(&self, of: ExpiredRows) -> Result<(), Error> {
        while let Some(deleted) = self.delete_batch(of).await? {
            count(of.as_str(), deleted);
            if deleted < BATCH.unsigned_abs() {
                break;
            }
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
        Ok(())
    }
}

impl Gateway {
    async fn delete_batch(&self, of: ExpiredRows) -> Result<Option<u64>, Error> {
        let (retention, published) = (
            self.config.audit_retention,
            self.revocations.published_until(),
        );
        self.postgres.purge_expired(of, retention, published).await
    }
}

fn count(kind: &'static str, removed: u64) {
    metrics::counter!("latchkey_cleanup_removed_total", "kind" => kind).increment(removed);
}
