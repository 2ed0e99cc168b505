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
        [self.lost_sight(), self.other_lease()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn lost_sight(&self) -> Option<String> {
        let told = match self.revocations.sight() {
            Sight::Whole => return None,
            Sight::Nothing => "The revocation log was not read yet: PostgreSQL answers checks.",
            Sight::Lost => {
                "Redis has lost the revocation log, which is being built anew: PostgreSQL answers \
                 checks, and signing out is answered 503."
            }
            Sight::Silent => {
                "Redis does not answer: PostgreSQL answers checks; refreshing and signing out are \
                 answered 503."
            }
            Sight::Evicting => {
                "Redis forgets keys when its memory is full: PostgreSQL answers checks. Set its \
                 `maxmemory-policy` to `noeviction`."
            }
            Sight::Unknown => {
                "The revocation log holds entries of a newer version: no check is answered. Update \
                 this replica."
            }
        };
        Some(told.to_owned())
    }

    fn other_lease(&self) -> Option<String> {
        let (mine, theirs) = (self.config.lease, self.revocations.lease()?);
        let differs = !mine.is_zero() && mine != theirs;
        differs.then(|| {
            format!(
                "LATCHKEY_LEASE is {mine:?}, but leases of {theirs:?} are in force: run `latchkey \
                 revocations rebuild` with the length that all replicas shall have."
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
