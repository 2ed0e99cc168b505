//! How revocation is, for operators.

use latchkey_domain::revocation::lease::{CheckSource, LogHealth, source_without_lease};

use crate::app::{Gateway, clock};

impl Gateway {
    /// The source of checks at this moment.
    pub(crate) fn check_source(&self) -> CheckSource {
        match self.revocations.set.is_leased(clock::uptime()) {
            true => CheckSource::Memory,
            false => source_without_lease(self.revocations.sight()),
        }
    }

    /// What is not as it should be, why, and what to do.
    pub(crate) fn degraded_revocation(&self) -> Vec<String> {
        [self.degraded_log(), self.differing_lease()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn degraded_log(&self) -> Option<String> {
        let told = match self.revocations.sight() {
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
                "Redis evicts keys when its memory is full. PostgreSQL serves checks. Set \
                 `maxmemory-policy` to `noeviction`."
            }
            LogHealth::NewerVersion => {
                "A newer version of Latchkey wrote entries to the revocation log that this replica \
                 can't read. Checks return 503. Update this replica."
            }
        };
        Some(told.to_owned())
    }

    fn differing_lease(&self) -> Option<String> {
        let (mine, theirs) = (self.config.lease, self.revocations.lease()?);
        let differs = !mine.is_zero() && mine != theirs;
        differs.then(|| {
            format!(
                "LATCHKEY_LEASE is {mine:?}, but leases of {theirs:?} are in force. Run `latchkey \
                 revocations rebuild` with the value for all replicas."
            )
        })
    }

    /// For the metrics.
    pub(crate) fn measure_revocation(&self) {
        let leased = self.revocations.set.is_leased(clock::uptime());
        metrics::gauge!("latchkey_lease_held").set(if leased { 1.0 } else { 0.0 });
        metrics::gauge!("latchkey_revocation_entries").set(self.revocations.entries() as f64);
    }
}
