//! How revocation is, for operators.

use crate::{
    domain::revocation::lease::{Rung, Sight, rung_without_lease},
    gateway::{Gateway, clock},
};

impl Gateway {
    /// Who answers checks at this moment.
    pub(in crate::gateway) fn checks_answered_by(&self) -> Rung {
        match self.revocations.cell.is_leased(clock::uptime()) {
            true => Rung::Memory,
            false => rung_without_lease(self.revocations.sight()),
        }
    }

    /// What is not as it should be, why, and what to do.
    pub(in crate::gateway) fn degraded_revocation(&self) -> Vec<String> {
        [self.lost_sight(), self.other_lease()].into_iter().flatten().collect()
    }

    fn lost_sight(&self) -> Option<String> {
        let why = match self.revocations.sight() {
            Sight::Whole => return None,
            Sight::Nothing => "The revocation log was not read yet",
            Sight::Lost => "Redis has lost the revocation log, which is built anew from PostgreSQL",
            Sight::Silent => "Redis does not answer",
            Sight::Evicting => {
                "Redis forgets keys when its memory is full, so set its `maxmemory-policy` to `noeviction`"
            }
            Sight::Unknown => "The revocation log holds entries of a newer version, so update this replica",
        };
        Some(format!(
            "{why}: once the lease is over, PostgreSQL answers checks; refreshing and signing out may be answered 503 until then."
        ))
    }

    fn other_lease(&self) -> Option<String> {
        let (mine, theirs) = (self.config.lease, self.revocations.lease()?);
        let differs = !mine.is_zero() && mine != theirs;
        differs.then(|| {
            format!(
                "LATCHKEY_LEASE is {mine:?}, but leases of {theirs:?} are in force: run `latchkey revocations rebuild` with the length that all replicas shall have."
            )
        })
    }

    /// For the metrics.
    pub(in crate::gateway) fn measure_revocation(&self) {
        let leased = self.revocations.cell.is_leased(clock::uptime());
        metrics::gauge!("latchkey_lease_held").set(if leased { 1.0 } else { 0.0 });
        metrics::gauge!("latchkey_revocation_entries").set(self.revocations.entries() as f64);
    }
}
