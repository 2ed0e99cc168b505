//! All that was taken back and still matters, in memory. It only grows, but for what is over;
//! whatever comes twice, or in another order, leaves the same.

use foldhash::fast::RandomState;
use latchkey_domain::revocation::{Entry, Marks, Standing, Subject};
use papaya::{Guard, HashMap};

/// Entries by their subjects. Readers take no lock.
#[derive(Default)]
pub struct Memory(HashMap<Subject, Standing, RandomState>);

impl Memory {
    /// Takes entries in.
    pub fn apply(&self, entries: &[Entry]) {
        let known = self.0.pin();
        for Entry { subject, standing } in entries {
            known.update_or_insert(*subject, |before| before.and(*standing), *standing);
        }
    }

    /// Whether something here speaks against a token.
    pub fn refuses(&self, marks: &Marks) -> bool {
        let known = self.0.pin();
        marks
            .refused_by(|subject| known.get(subject).map(|standing| standing.value))
            .is_some()
    }

    /// Whether it says as much as this entry, now.
    pub fn covers(&self, entry: &Entry, now: u64) -> bool {
        let known = self.0.pin().get(&entry.subject).copied();
        known.is_some_and(|known| known.value >= entry.standing.value && known.ends_at > now)
    }

    /// Holds what is there for [`Memory::all`], also while somebody waits. Meanwhile nothing that
    /// goes is freed.
    pub fn hold(&self) -> impl Guard + Send + Sync + '_ {
        self.0.owned_guard()
    }

    /// All that was there when this was called, and perhaps what came since.
    pub fn all<'a, G: Guard + Sync>(
        &'a self,
        hold: &'a G,
    ) -> impl Iterator<Item = Entry> + Send + 'a {
        self.0.iter(hold).map(|(subject, standing)| Entry {
            subject: *subject,
            standing: *standing,
        })
    }

    /// Forgets what was over before this moment (s since the epoch).
    pub fn forget(&self, now: u64) {
        self.0.pin().retain(|_, standing| standing.ends_at > now);
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
        let standing = (1i64..4, 1u64..4).prop_map(|(value, ends_at)| Standing { value, ends_at });
        let subject = (0u128..3).prop_map(|id| Subject::User(Uuid::from_u128(id)));
        (subject, standing).prop_map(|(subject, standing)| Entry { subject, standing })
    }

    proptest! {
        #[test]
        fn the_larger_wins_in_whatever_order_they_come(
            entries in proptest::collection::vec(entry(), 0..8),
            now in 0u64..5,
        ) {
            let (forwards, backwards) = (Memory::default(), Memory::default());
            forwards.apply(&entries);
            entries.iter().rev().for_each(|entry| backwards.apply(&[*entry]));
            prop_assert_eq!(forwards.len(), backwards.len());
            for entry in &entries {
                prop_assert!(forwards.covers(entry, 0) && backwards.covers(entry, 0));
                let beyond = Entry { standing: Standing { value: 4, ..entry.standing }, ..*entry };
                prop_assert!(!forwards.covers(&beyond, 0));
            }
            forwards.forget(now);
            let alive = |entry: &&Entry| entry.standing.ends_at > now;
            prop_assert!(entries.iter().filter(alive).all(|entry| forwards.covers(entry, now)));
        }
    }
}
