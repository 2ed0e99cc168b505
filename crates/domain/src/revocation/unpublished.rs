//! Revocations that are committed to PostgreSQL but missing in the log of this epoch.
//!
//! The replica rejects their tokens at once. But a revocation is complete only when the log
//! contains it, so these entries are stored beside the revocation set.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Entry, EntryState, Subject,
    lease::{BootTime, nanoseconds},
};

/// The time after which an unpublished revocation is reported to the operator.
pub const MAX_PUBLISH_DELAY: Duration = Duration::from_secs(5);

/// The unpublished entries of one replica. All times are on one monotonic clock.
#[derive(Debug, Default)]
pub struct UnpublishedEntries(BTreeMap<Subject, UnpublishedEntry>);

#[derive(Debug, Clone, Copy)]
struct UnpublishedEntry {
    state: EntryState,
    since: BootTime,
}

impl UnpublishedEntries {
    /// Adds an entry that was read from PostgreSQL, or committed, at `now`.
    pub fn add(&mut self, entry: &Entry, now: BootTime) {
        self.0
            .entry(entry.subject)
            .and_modify(|known| known.state = known.state.and(entry.state))
            .or_insert(UnpublishedEntry {
                state: entry.state,
                since: now,
            });
    }

    /// Removes the entries that the log covers.
    pub fn remove_published(&mut self, published: &[Entry]) {
        for entry in published {
            let is_covered = self
                .0
                .get(&entry.subject)
                .is_some_and(|known| known.state.value <= entry.state.value);
            if is_covered {
                self.0.remove(&entry.subject);
            }
        }
    }

    /// Removes the entries that expired before `now` (seconds since the epoch): their tokens have
    /// expired, too.
    pub fn remove_expired(&mut self, now: u64) {
        self.0.retain(|_, known| known.state.expires_at > now);
    }

    /// Returns whether the log lacks an entry of this subject.
    pub fn contains(&self, subject: &Subject) -> bool {
        self.0.contains_key(subject)
    }

    /// Returns the entries of changed identities.
    ///
    /// The user might be deleted, so PostgreSQL might no longer contain the change.
    pub fn identities(&self) -> Vec<Entry> {
        self.0
            .iter()
            .filter(|(subject, _)| matches!(subject, Subject::Identity(_)))
            .map(|(subject, known)| Entry {
                subject: *subject,
                state: known.state,
            })
            .collect()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the age of the oldest entry at `now`, if it exceeds
    /// [`MAX_PUBLISH_DELAY`].
    pub fn delay(&self, now: BootTime) -> Option<Duration> {
        let oldest = self.0.values().map(|known| known.since).min()?;
        let age = Duration::from_nanos(now.saturating_sub(oldest));
        (nanoseconds(age) > nanoseconds(MAX_PUBLISH_DELAY)).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entry(value: i64) -> Entry {
        Entry {
            subject: Subject::User(Uuid::nil()),
            state: EntryState {
                value,
                expires_at: 100,
            },
        }
    }

    #[test]
    fn smaller_generation_stays_unpublished() {
        let mut unpublished = UnpublishedEntries::default();
        unpublished.add(&entry(2), 0);
        unpublished.remove_published(&[entry(1)]);
        assert!(
            unpublished.contains(&entry(2).subject),
            "a smaller generation"
        );
        unpublished.remove_published(&[entry(2)]);
        assert!(unpublished.is_empty());
    }

    #[test]
    fn identities_are_listed_until_published() {
        let mut unpublished = UnpublishedEntries::default();
        let identity = |version| Entry::of_identity(Uuid::nil(), version, 0).unwrap();
        unpublished.add(&entry(1), 0);
        unpublished.add(&identity(2), 0);
        unpublished.add(&identity(3), 0);
        assert_eq!(unpublished.identities(), [identity(3)]);
        unpublished.remove_published(&[identity(2)]);
        assert_eq!(unpublished.identities(), [identity(3)]);
        unpublished.remove_published(&[identity(3)]);
        assert!(unpublished.identities().is_empty() && !unpublished.is_empty());
    }

    #[test]
    fn delay_counts_from_first_add() {
        let mut unpublished = UnpublishedEntries::default();
        let second = nanoseconds(Duration::from_secs(1));
        unpublished.add(&entry(1), second);
        unpublished.add(&entry(2), 4 * second);
        assert_eq!(unpublished.delay(6 * second), None);
        assert_eq!(unpublished.delay(7 * second), Some(Duration::from_secs(6)));
        unpublished.remove_published(&[entry(1)]);
        assert_eq!(unpublished.len(), 1, "the larger generation is missing");
    }

    #[test]
    fn expired_entry_is_removed() {
        let mut unpublished = UnpublishedEntries::default();
        unpublished.add(&entry(1), 0);
        unpublished.remove_expired(99);
        assert_eq!(unpublished.len(), 1);
        unpublished.remove_expired(100);
        assert!(unpublished.is_empty());
    }
}
