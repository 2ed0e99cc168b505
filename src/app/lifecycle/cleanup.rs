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
    postgres::{BATCH, Leftover},
};

/// After the start: soon, but not while everything else starts too.
const FIRST: Duration = Duration::from_secs(1);

/// Between two batches, for whoever else wants the store.
const PAUSE: Duration = Duration::from_millis(50);

impl Gateway {
    /// Tidies up until the process ends.
    pub async fn tidy_up(self: Arc<Self>) {
        let mut wait = FIRST.min(self.config.cleanup_interval);
        loop {
            tokio::time::sleep(wait).await;
            wait = self.config.cleanup_interval;
            let began = Instant::now();
            match self.tidy_up_once().await {
                Ok(()) => metrics::gauge!("latchkey_cleanup_last_success_timestamp_seconds")
                    .set(self.clock.now() as f64),
                // The next run, here or elsewhere, tries again.
                Err(error) => tracing::warn!(error = %Chain(&error), "cleanup failed"),
            }
            metrics::gauge!("latchkey_cleanup_run_seconds").set(began.elapsed().as_secs_f64());
        }
    }

    /// All that is over. One thing that fails keeps no other from being done.
    async fn tidy_up_once(&self) -> Result<(), Error> {
        self.reseal_keys().await;
        let mut outcome = self.record.make_audit_months().await;
        for of in Leftover::ALL {
            outcome = outcome.and(self.delete_all(of).await);
        }
        let dropped = self
            .record
            .drop_audit_months(self.config.audit_retention)
            .await;
        outcome.and(dropped.map(|months| count("audit_months", months.unwrap_or(0))))
    }

    /// Batch by batch, until there is nothing more, or another replica is about it.
    async fn delete_all(&self, of: Leftover) -> Result<(), Error> {
        while let Some(deleted) = self.delete_batch(of).await? {
            count(of.as_str(), deleted);
            if deleted < BATCH.unsigned_abs() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

impl Gateway {
    async fn delete_batch(&self, of: Leftover) -> Result<Option<u64>, Error> {
        let (retention, published) = (
            self.config.audit_retention,
            self.revocations.published_until(),
        );
        self.record.delete_leftovers(of, retention, published).await
    }
}

fn count(kind: &'static str, removed: u64) {
    metrics::counter!("latchkey_cleanup_removed_total", "kind" => kind).increment(removed);
}
