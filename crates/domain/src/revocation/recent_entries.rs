//! Recent entries of the revocation log, for the subscribers of the revocation stream.
//!
//! Subscribers are services that validate tokens locally, and services whose connections outlive a
//! token.
//!
//! Sequence numbers count all entries of the log, including those that the stream omits. Each entry
//! of the stream contains the number of its predecessor, so that a subscriber can detect a gap.

use std::{collections::VecDeque, fmt, str::FromStr};

use crate::revocation::{Entry, lease::LogPosition};

/// Maximum length of a position in bytes.
///
/// A replication ID, a nonce, and a sequence number have about 100 bytes.
const MAX_POSITION_BYTES: usize = 200;

/// Writes the position as `<epoch>:<sequence number>`, the form in which subscribers return it.
impl fmt::Display for LogPosition<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.applied)
    }
}

/// Error for a text that is not a position.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl FromStr for LogPosition<String> {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<LogPosition<String>, InvalidPosition> {
        let (epoch, number) = text
            .rsplit_once(':')
            .filter(|_| text.len() <= MAX_POSITION_BYTES)
            .ok_or(InvalidPosition)?;
        let applied = number.parse().map_err(|_| InvalidPosition)?;
        if epoch.is_empty() {
            Err(InvalidPosition)
        } else {
            Ok(LogPosition {
                epoch: epoch.to_owned(),
                applied,
            })
        }
    }
}

/// An entry of the revocation stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEntry {
    /// The log entry.
    pub entry: Entry,
    /// Sequence number of the entry in the log.
    pub number: u64,
    /// Sequence number of the previous stream entry, or the start of the log for the first one.
    pub previous: u64,
}

/// Result of a read for a subscriber at a given position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamUpdate {
    /// The replica does not follow a log.
    NotFollowing,
    /// The position is too old, ahead of the log, or from another log.
    ///
    /// The subscriber requires a snapshot, and then the entries after the contained position.
    Resync(LogPosition<String>),
    /// The next stream entries after the position.
    Entries {
        /// Stream entries in the order of the log, at most as many as requested.
        entries: Vec<StreamEntry>,
        /// Position of a subscriber that has applied these entries.
        position: LogPosition<String>,
    },
}

/// Bounded buffer of the latest stream entries.
#[derive(Debug)]
pub struct RecentEntries {
    /// Maximum number of stream entries in the buffer.
    capacity: usize,
    /// Last position read from the log; `None` if no log is followed.
    position: Option<LogPosition<String>>,
    /// The buffer contains every stream entry with a larger sequence number.
    covered_after: u64,
    /// Sequence number of the last stream entry, or the start of the log if there is none.
    last: u64,
    buffer: VecDeque<StreamEntry>,
}

impl RecentEntries {
    /// Creates an empty buffer for `capacity` stream entries.
    pub fn new(capacity: usize) -> RecentEntries {
        RecentEntries {
            capacity,
            position: None,
            covered_after: 0,
            last: 0,
            buffer: VecDeque::new(),
        }
    }

    /// Follows a log from `start`, the position before its first entry.
    ///
    /// If the buffer already follows this log at or past `start`, it remains unchanged. Within an
    /// epoch, a sequence number always identifies the same entry.
    pub fn begin(&mut self, start: LogPosition<String>) {
        let is_same_log = |position: &LogPosition<String>| {
            position.epoch == start.epoch && position.applied >= start.applied
        };
        if !self.position.as_ref().is_some_and(is_same_log) {
            (self.covered_after, self.last) = (start.applied, start.applied);
            self.buffer.clear();
            self.position = Some(start);
        }
    }

    /// Stops following the log, because the replica rejected its content.
    ///
    /// The next call of [`RecentEntries::begin`] clears the buffer.
    pub fn forget(&mut self) {
        self.position = None;
    }

    /// Adds log entries in order, and returns whether the stream has a new entry.
    ///
    /// Entries up to the current position are ignored. The others must follow it without a gap.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = (u64, Entry)>) -> bool {
        let Some(position) = &mut self.position else {
            return false;
        };
        let previous_last = self.last;
        for (number, entry) in entries {
            if number <= position.applied {
                continue;
            }
            position.applied = number;
            if !entry.subject.is_streamed() {
                continue;
            }
            if self.buffer.len() == self.capacity {
                self.covered_after = self
                    .buffer
                    .pop_front()
                    .map_or(self.covered_after, |oldest| oldest.number);
            }
            self.buffer.push_back(StreamEntry {
                entry,
                number,
                previous: self.last,
            });
            self.last = number;
        }
        self.last != previous_last
    }

    /// Returns up to `limit` stream entries after the position of a subscriber.
    ///
    /// A subscriber without a position (`None`) gets [`StreamUpdate::Resync`].
    pub fn after(&self, subscriber: Option<&LogPosition<String>>, limit: usize) -> StreamUpdate {
        let Some(position) = &self.position else {
            return StreamUpdate::NotFollowing;
        };
        let Some(subscriber) = subscriber.filter(|subscriber| self.covers(subscriber)) else {
            return StreamUpdate::Resync(position.clone());
        };
        let first = self
            .buffer
            .partition_point(|entry| entry.number <= subscriber.applied);
        let entries: Vec<StreamEntry> = self.buffer.range(first..).take(limit).copied().collect();
        let applied = match entries.last() {
            Some(last) if first + entries.len() < self.buffer.len() => last.number,
            _all => position.applied,
        };
        StreamUpdate::Entries {
            entries,
            position: LogPosition {
                epoch: position.epoch.clone(),
                applied,
            },
        }
    }

    /// Returns whether the buffer contains every stream entry after the position of a subscriber.
    pub fn covers(&self, subscriber: &LogPosition<String>) -> bool {
        let is_covered = |position: &LogPosition<String>| {
            position.epoch == subscriber.epoch
                && (self.covered_after..=position.applied).contains(&subscriber.applied)
        };
        self.position.as_ref().is_some_and(is_covered)
    }

    /// Returns the sequence number of the last stream entry.
    pub fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::revocation::{EntryState, Subject};

    fn position(epoch: &str, applied: u64) -> LogPosition<String> {
        LogPosition {
            epoch: epoch.to_owned(),
            applied,
        }
    }

    fn log_entry(number: u64, is_streamed: bool) -> (u64, Entry) {
        let id = Uuid::from_u128(number.into());
        let subject = if is_streamed {
            Subject::Session(id)
        } else {
            Subject::Probe(id)
        };
        (
            number,
            Entry {
                subject,
                state: EntryState {
                    value: EntryState::FLAG,
                    expires_at: 1,
                },
            },
        )
    }

    fn recent_entries(capacity: usize, start: u64, are_streamed: &[bool]) -> RecentEntries {
        let mut recent = RecentEntries::new(capacity);
        recent.begin(position("a", start));
        recent.extend(
            (start + 1..)
                .zip(are_streamed)
                .map(|(number, is_streamed)| log_entry(number, *is_streamed)),
        );
        recent
    }

    proptest! {
        #[test]
        fn written_position_parses_to_same_position(
            epoch in "[0-9a-f]{1,40}(:[0-9a-f]{1,32})?",
            applied: u64,
        ) {
            let written = position(&epoch, applied).to_string();
            prop_assert_eq!(written.parse(), Ok(position(&epoch, applied)));
        }

        #[test]
        fn other_text_is_not_parsed_as_position(text in "\\PC{0,250}") {
            if let Ok(position) = text.parse::<LogPosition<String>>() {
                prop_assert!(text.len() <= MAX_POSITION_BYTES && !position.epoch.is_empty());
            }
        }

        /// Repeated reads return every stream entry once, in order, and linked without a gap.
        #[test]
        fn repeated_reads_return_every_entry_once(
            start in 0u64..5,
            are_streamed: Vec<bool>,
            batch in 1usize..5,
            skipped in 0usize..20,
        ) {
            let recent = recent_entries(are_streamed.len() + 1, start, &are_streamed);
            let from = start + (skipped.min(are_streamed.len()) as u64);
            let (mut subscriber, mut numbers) = (position("a", from), Vec::new());
            loop {
                let StreamUpdate::Entries { entries, position } =
                    recent.after(Some(&subscriber), batch)
                else {
                    panic!("the buffer covers the position")
                };
                prop_assert!(entries.len() <= batch);
                for entry in &entries {
                    let last = numbers.last().copied().unwrap_or(from);
                    prop_assert!(entry.previous <= last, "a gap");
                    numbers.push(entry.number);
                }
                prop_assert!(position.applied >= subscriber.applied);
                subscriber = position;
                if entries.len() < batch {
                    break;
                }
            }
            let expected = (start + 1..)
                .zip(&are_streamed)
                .filter(|(number, is_streamed)| **is_streamed && *number > from);
            prop_assert_eq!(numbers, expected.map(|(number, _)| number).collect::<Vec<_>>());
            prop_assert_eq!(subscriber, position("a", start + are_streamed.len() as u64));
        }

        /// A position that is too old, ahead, or of another log requires a resync, never a part.
        #[test]
        fn subscriber_outside_buffer_is_resynced(
            are_streamed: Vec<bool>,
            capacity in 1usize..4,
            applied in 0u64..120,
        ) {
            let recent = recent_entries(capacity, 0, &are_streamed);
            let last = are_streamed.len() as u64;
            let missed = (1..)
                .zip(&are_streamed)
                .filter(|(number, is_streamed)| **is_streamed && *number > applied)
                .count();
            let is_buffered = applied <= last && missed <= capacity;
            let resync = StreamUpdate::Resync(position("a", last));
            // The buffer can cover a position before its oldest entry, if the stream omits all
            // entries in between.
            prop_assert!(is_buffered || recent.after(Some(&position("a", applied)), 9) == resync);
            prop_assert_eq!(recent.after(Some(&position("b", applied)), 9), resync.clone());
            prop_assert_eq!(recent.after(None, 9), resync);
        }
    }

    #[test]
    fn full_buffer_drops_oldest_entry() {
        let recent = recent_entries(2, 0, &[true, true, true, false]);
        let update = |numbers: &[(u64, u64)]| StreamUpdate::Entries {
            entries: numbers
                .iter()
                .map(|&(number, previous)| StreamEntry {
                    entry: log_entry(number, true).1,
                    number,
                    previous,
                })
                .collect(),
            position: position("a", 4),
        };
        assert_eq!(
            recent.after(Some(&position("a", 0)), 9),
            StreamUpdate::Resync(position("a", 4))
        );
        assert_eq!(
            recent.after(Some(&position("a", 1)), 9),
            update(&[(2, 1), (3, 2)])
        );
        assert_eq!(recent.after(Some(&position("a", 3)), 9), update(&[]));
        assert_eq!((recent.last(), recent.buffer.len()), (3, 2));
    }

    #[test]
    fn log_that_is_read_again_adds_no_duplicates() {
        let mut recent = RecentEntries::new(9);
        assert_eq!(
            (recent.after(None, 9), recent.extend([log_entry(1, true)])),
            (StreamUpdate::NotFollowing, false)
        );
        recent.begin(position("a", 0));
        assert!(recent.extend([log_entry(1, true)]) && !recent.extend([log_entry(2, false)]));
        recent.begin(position("a", 0));
        assert!(
            !recent.extend([log_entry(1, true), log_entry(2, false)])
                && recent.extend([log_entry(3, true)])
        );
        let StreamUpdate::Entries {
            entries,
            position: reached,
        } = recent.after(Some(&position("a", 0)), 9)
        else {
            panic!("the buffer covers the position")
        };
        assert_eq!(
            entries
                .iter()
                .map(|entry| (entry.number, entry.previous))
                .collect::<Vec<_>>(),
            [(1, 0), (3, 1)]
        );
        assert_eq!(reached, position("a", 3));
    }

    #[test]
    fn changed_or_incomplete_log_requires_resync() {
        let mut recent = recent_entries(9, 0, &[true, true]);
        recent.begin(position("b", 0));
        assert_eq!(
            recent.after(Some(&position("a", 2)), 9),
            StreamUpdate::Resync(position("b", 0))
        );
        recent.extend([log_entry(1, true)]);
        recent.begin(position("b", 5));
        assert_eq!(
            recent.after(Some(&position("b", 1)), 9),
            StreamUpdate::Resync(position("b", 5)),
            "entries between the positions are missing"
        );
        recent.forget();
        assert_eq!(
            recent.after(Some(&position("b", 5)), 9),
            StreamUpdate::NotFollowing
        );
        recent.begin(position("b", 0));
        assert_eq!(
            recent.after(Some(&position("b", 5)), 9),
            StreamUpdate::Resync(position("b", 0)),
            "the buffer does not trust entries from before the reset"
        );
    }
}
