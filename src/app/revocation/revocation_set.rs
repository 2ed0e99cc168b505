//! All revocations that still matter, in memory. Entries are only added or replaced by larger ones,
//! except when they expire, so duplicates and any order lead to the same set.

use foldhash::fast::RandomState;
use latchkey_domain::revocation::{Entry, EntryState, RevocationKeys, Subject, identity};
use papaya::{Guard, HashMap};
use uuid::Uuid;

/// Entries by subject. Readers take no lock.
#[derive(Default)]
pub(super) struct RevocationSet(HashMap<Subject, EntryState, RandomState>);

impl RevocationSet {
    /// Adds entries.
    pub fn apply(&self, entries: &[Entry]) {
        let map = self.0.pin();
        for Entry { subject, state } in entries {
            map.update_or_insert(*subject, |before| before.and(*state), *state);
        }
    }

    /// Returns whether an entry revokes the token.
    pub fn is_revoked(&self, keys: &RevocationKeys) -> bool {
        let map = self.0.pin();
        keys.find_revoked_subject(|subject| map.get(subject).map(|state| state.value))
            .is_some()
    }

    /// Returns whether no entry invalidates cached claims with this version of a user's identity.
    pub fn is_identity_current(&self, user_id: Uuid, cached_version: i64) -> bool {
        let entry_value = self
            .0
            .pin()
            .get(&Subject::Identity(user_id))
            .map(|state| state.value);
        identity::is_identity_current(cached_version, entry_value)
    }

    /// Returns whether the set revokes at least as much as this entry, at `now`.
    pub fn covers(&self, entry: &Entry, now: u64) -> bool {
        let state = self.0.pin().get(&entry.subject).copied();
        state.is_some_and(|state| state.value >= entry.state.value && state.expires_at > now)
    }

    /// Returns a guard for [`RevocationSet::iter`] that can be held across an `await`. While it is
    /// held, removed entries are not freed.
    pub fn guard(&self) -> impl Guard + Send + Sync + '_ {
        self.0.owned_guard()
    }

    /// Iterates over all entries that existed at the call. Later entries might be included.
    pub fn iter<'a, G: Guard + Sync>(
        &'a self,
        guard: &'a G,
    ) -> impl Iterator<Item = Entry> + Send + 'a {
        self.0.iter(guard).map(|(subject, state)| Entry {
            subject: *subject,
            state: *state,
        })
    }

    /// Removes the entries that expired before `now` (seconds since the epoch).
    pub fn evict_expired(&self, now: u64) {
        self.0.pin().retain(|_, state| state.expires_at > now);
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let state =
            (1i64..4, 1u64..4).prop_map(|(value, expires_at)| EntryState { value, expires_at });
        let subject = (0u128..3).prop_map(|id| Subject::User(Uuid::from_u128(id)));
        (subject, state).prop_map(|(subject, state)| Entry { subject, state })
    }

    proptest! {
        #[test]
        fn larger_entry_wins_in_any_order(
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
            let is_live = |entry: &&Entry| entry.state.expires_at > now;
            prop_assert!(entries.iter().filter(is_live).all(|entry| forwards.covers(entry, now)));
        }
    }
}
