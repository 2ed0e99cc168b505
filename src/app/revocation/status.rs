//! The state of the revocation protocol, for operators.

use latchkey_domain::revocation::lease::{CheckSource, LogHealth, source_without_lease};

use super::Revocations;
use crate::{
    app::{
        clock,
        impairment::{Component, Impairment},
    },
    error::Diagnosis,
};

impl Revocations {
    /// The current source of checks.
    pub(crate) fn check_source(&self) -> CheckSource {
        match self.set.is_leased(clock::boot_time()) {
            true => CheckSource::Memory,
            false => source_without_lease(self.log_health()),
        }
    }

    /// Each impairment of the protocol, with its cause and the fix.
    pub(crate) fn impairments(&self) -> Vec<Impairment> {
        [
            self.log_impairment(),
            self.publish_delay(),
            self.lease_mismatch(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The cause and the fix of the last failed renewal, unless one has succeeded since.
    pub(crate) fn log_failure(&self) -> Option<Diagnosis> {
        self.log_observation().failure.clone()
    }

    fn log_impairment(&self) -> Option<Impairment> {
        let (reason, action) = match self.log_health() {
            // The impairment of Redis states the cause.
            LogHealth::Complete | LogHealth::Unreachable => return None,
            LogHealth::NotSeen => (
                "This replica has not read the revocation log yet. PostgreSQL serves checks.",
                "Wait; no action is required.",
            ),
            LogHealth::Lost => (
                "Redis has lost the revocation log. PostgreSQL serves checks, and sign-out returns \
                 503.",
                "Wait until a replica has rebuilt the revocation log. If this takes more than a few \
                 seconds, see the logs of the replicas.",
            ),
            LogHealth::EvictionEnabled => (
                "Redis evicts keys when its memory is full. PostgreSQL serves checks.",
                "Set `maxmemory-policy` of Redis to `noeviction`.",
            ),
            LogHealth::NewerVersion => (
                "A newer version of Latchkey wrote entries to the revocation log that this replica \
                 can't read. Checks return 503.",
                "Update this replica.",
            ),
        };
        Some(Impairment::new(
            Component::RevocationLog,
            Diagnosis::new(reason, action),
        ))
    }

    fn publish_delay(&self) -> Option<Impairment> {
        // In every other state, another impairment states the cause.
        if self.log_health() != LogHealth::Complete {
            return None;
        }
        let unpublished = self.unpublished();
        let delay = unpublished.delay(clock::boot_time())?;
        let reason = format!(
            "Not all committed revocations are published: {} wait, the oldest for {} s. This replica \
             rejects their tokens, but sign-out returns 503.",
            unpublished.len(),
            delay.as_secs(),
        );
        let action = "Fix the Redis error in the log of this replica.";
        Some(Impairment::new(
            Component::Publication,
            Diagnosis::new(reason, action),
        ))
    }

    fn lease_mismatch(&self) -> Option<Impairment> {
        let (configured, current) = (self.settings.lease, self.current_lease()?);
        let differs = !configured.is_zero() && configured != current;
        let reason =
            format!("`LATCHKEY_LEASE` is {configured:?}, but leases of {current:?} are in force.");
        let action = "Set the same `LATCHKEY_LEASE` for all replicas, and run `latchkey revocations rebuild`.";
        differs.then(|| Impairment::new(Component::Lease, Diagnosis::new(reason, action)))
    }

    /// Updates the gauges.
    pub(crate) fn measure(&self) {
        let is_leased = self.set.is_leased(clock::boot_time());
        metrics::gauge!("latchkey_lease_held").set(if is_leased { 1.0 } else { 0.0 });
        metrics::gauge!("latchkey_revocation_entries").set(self.entry_count() as f64);
    }
}
