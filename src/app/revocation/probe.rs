//! The probe worker: measures the propagation delay with an entry that revokes nothing, and evicts
//! expired entries.

use std::{sync::Arc, time::Duration};

use latchkey_domain::revocation::{Entry, EntryState, Subject, lease::LogHealth};

use super::Revocations;
use crate::app::clock;

/// The interval between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The lifetime of a probe entry.
const PROBE_LIFETIME_SECONDS: u64 = 60;

impl Revocations {
    /// Runs until the process exits.
    pub(crate) async fn run_probe_worker(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            self.set.set().evict_expired(self.clock.now());
            self.unpublished().remove_expired(self.clock.now());
            if self.log_health() == LogHealth::Complete {
                self.send_probe().await;
            }
        }
    }

    async fn send_probe(&self) {
        let began = clock::boot_time();
        let entry = Entry {
            subject: Subject::Probe(self.member_id),
            state: EntryState {
                value: i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX),
                expires_at: self.clock.now() + PROBE_LIFETIME_SECONDS,
            },
        };
        // A failure isn't logged here, because each revocation that fails logs it.
        if let Ok(batch) = self.append(vec![entry]).await {
            self.wait_until_enforced(&batch).await;
            let elapsed = Duration::from_nanos(clock::boot_time().saturating_sub(began));
            metrics::histogram!("latchkey_revocation_propagation_seconds")
                .record(elapsed.as_secs_f64());
        }
    }
}
