//! The state of the revocation protocol, for operators.

use latchkey_domain::revocation::lease::{CheckSource, LogHealth, source_without_lease};

use super::Revocations;
use crate::app::clock;

impl Revocations {
    /// The current source of checks.
    pub(crate) fn check_source(&self) -> CheckSource {
        match self.set.is_leased(clock::boot_time()) {
            true => CheckSource::Memory,
            false => source_without_lease(self.log_health()),
        }
    }

    /// Each impairment of the protocol, with its cause and the fix.
    pub(crate) fn impairments(&self) -> Vec<String> {
        [
            self.log_impairment(),
            self.publish_delay(),
            self.lease_mismatch(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn log_impairment(&self) -> Option<String> {
        let text = match self.log_health() {
            LogHealth::Complete => return None,
            LogHealth::NotSeen => {
                "This replica has not read the revocation log yet. PostgreSQL serves checks. No \
                 action is required."
            }
            LogHealth::Lost => {
                "Redis has lost the revocation log. PostgreSQL serves checks, and sign-out returns \
                 503. A replica rebuilds the log; if that takes more than a few seconds, see its \
                 log."
            }
            LogHealth::Unreachable => {
                "Redis does not respond. PostgreSQL serves checks; refresh and sign-out return \
                 503. Check the Redis server and `REDIS_URL`."
            }
            LogHealth::EvictionEnabled => {
                "Redis is configured to evict keys when its memory is full. PostgreSQL serves \
                 checks. Set `maxmemory-policy` to `noeviction`."
            }
            LogHealth::NewerVersion => {
                "A newer version of Latchkey wrote entries to the revocation log that this replica \
                 can't read. Checks return 503. Update this replica."
            }
        };
        Some(text.to_owned())
    }

    fn publish_delay(&self) -> Option<String> {
        // In every other state, another impairment states the cause.
        if self.log_health() != LogHealth::Complete {
            return None;
        }
        let unpublished = self.unpublished();
        let delay = unpublished.delay(clock::boot_time())?;
        Some(format!(
            "Committed revocations are not published: {}, the oldest for {} s. This replica \
             rejects their tokens, but sign-out returns 503. Fix the Redis error in the log of this \
             replica.",
            unpublished.len(),
            delay.as_secs(),
        ))
    }

    fn lease_mismatch(&self) -> Option<String> {
        let (configured, current) = (self.settings.lease, self.current_lease()?);
        let differs = !configured.is_zero() && configured != current;
        differs.then(|| {
            format!(
                "LATCHKEY_LEASE is {configured:?}, but leases of {current:?} are in force. Run \
                 `latchkey revocations rebuild` with the value for all replicas."
            )
        })
    }

    /// Updates the gauges.
    pub(crate) fn measure(&self) {
        let is_leased = self.set.is_leased(clock::boot_time());
        metrics::gauge!("latchkey_lease_held").set(if is_leased { 1.0 } else { 0.0 });
        metrics::gauge!("latchkey_revocation_entries").set(self.entry_count() as f64);
    }
}
