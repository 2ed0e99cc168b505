//! How fast entries reach every replica, measured by one that says nothing; and what is over is
//! forgotten in passing.

use std::{sync::Arc, time::Duration};

use latchkey_domain::revocation::{Entry, EntryState, Subject, lease::LogHealth};

use crate::app::{Gateway, clock};

/// Between two canaries.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How long one stays on the denylist, in seconds.
const PROBE_LIFETIME_SECONDS: u64 = 60;

impl Gateway {
    /// Sends canaries until the process ends.
    pub async fn run_probe_worker(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            self.revocations.set.set().evict_expired(self.clock.now());
            if self.revocations.sight() == LogHealth::Complete {
                self.send_probe().await;
            }
        }
    }

    async fn send_probe(&self) {
        let began = clock::uptime();
        let number = i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX);
        let state = EntryState {
            value: number,
            ends_at: self.clock.now() + PROBE_LIFETIME_SECONDS,
        };
        let entry = Entry {
            subject: Subject::Probe(self.revocations.id),
            state,
        };
        // Whatever keeps it from being appended is told by those who have something to append.
        if let Ok(pending) = self.append(vec![entry]).await {
            self.wait_until_enforced(&pending).await;
            let taken = Duration::from_nanos(clock::uptime().saturating_sub(began));
            metrics::histogram!("latchkey_revocation_propagation_seconds")
                .record(taken.as_secs_f64());
        }
    }
}
