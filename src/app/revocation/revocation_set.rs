//! All that was taken back and still matters, in memory. It only grows, but for what is over;
//! whatever comes twice, or in another order, leaves the same.

use foldhash::fast::RandomState;
use latchkey_domain::revocation::{Entry, EntryState, RevocationKeys, Subject};
use papaya::{Guard, HashMap};

/// Entries by their subjects. Readers take no lock.
#[derive(Default)]
pub struct RevocationSet(HashMap<Subject, EntryState, RandomState>);

impl RevocationSet {
    /// Takes entries in.
    pub fn apply(&self, entries: &[Entry]) {
        let known = self.0.pin();
        for Entry { subject, state } in entries {
            known.update_or_insert(*subject, |before| before.and(*state), *state);
        }
    }

    /// Whether something here speaks against a token.
    pub fn is_revoked(&self, marks: &RevocationKeys) -> bool {
        let known = self.0.pin();
        marks
            .find_revoked_subject(|subject| known.get(subject).map(|state| state.value))
            .is_some()
    }

    /// Whether it says as much as this entry, now.
    pub fn covers(&self, entry: &Entry, now: u64) -> bool {
        let known = self.0.pin().get(&entry.subject).copied();
        known.is_some_and(|known| known.value >= entry.state.value && known.ends_at > now)
    }

    /// Holds what is there for [`RevocationSet::all`], also while somebody waits. Meanwhile nothing that
    /// goes is freed.
    pub fn hold(&self) -> impl Guard + Send + Sync + '_ {
        self.0.owned_guard()
    }

    /// All that was there when this was called, and perhaps what came since.
    pub fn all<'a, G: Guard + Sync>(
        &'a self,
        hold: &'a G,
    ) -> impl Iterator<Item = Entry> + Send + 'a {
        self.0.iter(hold).map(|(subject, state)| Entry {
            subject: *subject,
            state: *state,
        })
    }

    /// Forgets what was over before this moment (s since the epoch).
    pub fn evict_expired(&self, now: u64) {
        self.0.pin().retain(|_, state| state.ends_at > now);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let state = (1i64..4, 1u64..4).prop_map(|(value, ends_at)| EntryState { value, ends_at });
        let subject = (0u128..3).prop_map(|id| Subject::User(Uuid::from_u128(id)));
        (subject, state).prop_map(|(subject, state)| Entry { subject, state })
    }

    proptest! {
        #[test]
        fn the_larger_wins_in_whatever_order_they_come(
            entries in proptest::collection::vec(entry(), 0..8),
            now in 0u64..5,
        ) {
            let (forwards, backwards) = (RevocationSet::default(), RevocationSet::default());
            forwards.apply(&entries);
            entries.iter().rev().for_each(|entry| backwards.apply(&[*entry]));
            prop_assert_eq!(forwards.len(), backwards.len());
            for entry in &entries {
                prop_assert!(forwards.covers(entry, 0) && backwards.covers(entry, 0));
                let beyond = Entry { state: EntryState { value: 4, ..entry.state }, ..*entry };
                prop_assert!(!forwards.covers(&beyond, 0));
            }
            forwards.evict_expired(now);
            let alive = |entry: &&Entry| entry.state.ends_at > now;
            prop_assert!(entries.iter().filter(alive).all(|entry| forwards.covers(entry, now)));
        }
    }
}
