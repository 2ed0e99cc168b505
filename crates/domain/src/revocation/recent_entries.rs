//! The end of the log, for those who follow what is taken back from outside: services that check
//! tokens themselves, and holders of connections that outlive a token.
//!
//! Numbers count all entries of the log, also those of which nobody outside is told. So each one
//! that is told names the one that was told before it, and who reads can see that nothing is
//! missing.

use std::{collections::VecDeque, fmt, str::FromStr};

use crate::revocation::{Entry, lease::LogPosition};

/// The longest text that is looked at for a position: a replication id, a nonce and a number are
/// about 100 characters.
const LONGEST: usize = 200;

/// As readers keep it, and send it back.
impl fmt::Display for LogPosition<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.applied)
    }
}

/// A text that is no position.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl FromStr for LogPosition<String> {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<LogPosition<String>, InvalidPosition> {
        let (epoch, number) = text
            .rsplit_once(':')
            .filter(|_| text.len() <= LONGEST)
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

/// An entry as those outside are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEntry {
    /// What was taken back.
    pub entry: Entry,
    /// Its number in the log.
    pub number: u64,
    /// The number of the one that was told before; of the first, that before the log.
    pub previous: u64,
}

/// What there is for somebody who has come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamUpdate {
    /// No log is followed yet.
    NotFollowing,
    /// More is missing than is kept, or it was of another log: everything is to be told, and after
    /// that what came since this position.
    Resync(LogPosition<String>),
    /// What came since.
    Entries {
        /// In their order; as many as were asked for, if there are more.
        told: Vec<StreamEntry>,
        /// How far whoever takes it in has come.
        position: LogPosition<String>,
    },
}

/// The last entries of the log, and how far it is known.
#[derive(Debug)]
pub struct RecentEntries {
    /// How many are kept.
    most: usize,
    /// Nothing where no log is followed.
    reached: Option<LogPosition<String>>,
    /// Everything with a larger number is kept.
    floor: u64,
    /// The number of the last one that is told.
    last: u64,
    kept: VecDeque<StreamEntry>,
}

impl RecentEntries {
    /// Keeps so many.
    pub fn new(most: usize) -> RecentEntries {
        RecentEntries {
            most,
            reached: None,
            floor: 0,
            last: 0,
            kept: VecDeque::new(),
        }
    }

    /// A log is followed from its beginning, the position before its first entry. Under an epoch a
    /// number never means something else, so whatever is kept of the same log stays.
    pub fn begin(&mut self, before: LogPosition<String>) {
        let is_known = |reached: &LogPosition<String>| {
            reached.epoch == before.epoch && reached.applied >= before.applied
        };
        if !self.reached.as_ref().is_some_and(is_known) {
            (self.floor, self.last) = (before.applied, before.applied);
            self.kept.clear();
            self.reached = Some(before);
        }
    }

    /// The log is not what it should be: nothing that is kept is of any use.
    pub fn forget(&mut self) {
        self.reached = None;
    }

    /// Entries of that log, each the next one or known already; whether there was a new one that is
    /// told.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = (u64, Entry)>) -> bool {
        let Some(reached) = &mut self.reached else {
            return false;
        };
        let before = self.last;
        for (number, entry) in entries {
            if number <= reached.applied {
                continue;
            }
            reached.applied = number;
            if entry.subject.stream_name().is_none() {
                continue;
            }
            if self.kept.len() == self.most {
                self.floor = self
                    .kept
                    .pop_front()
                    .map_or(self.floor, |oldest| oldest.number);
            }
            self.kept.push_back(StreamEntry {
                entry,
                number,
                previous: self.last,
            });
            self.last = number;
        }
        self.last != before
    }

    /// What there is for somebody who has come so far, at most so many.
    pub fn after(&self, known: Option<&LogPosition<String>>, most: usize) -> StreamUpdate {
        let Some(reached) = &self.reached else {
            return StreamUpdate::NotFollowing;
        };
        let Some(known) = known.filter(|known| self.covers(known)) else {
            return StreamUpdate::Resync(reached.clone());
        };
        let first = self
            .kept
            .partition_point(|told| told.number <= known.applied);
        let told: Vec<StreamEntry> = self.kept.range(first..).take(most).copied().collect();
        let applied = match told.last() {
            Some(last) if first + told.len() < self.kept.len() => last.number,
            _all => reached.applied,
        };
        StreamUpdate::Entries {
            told,
            position: LogPosition {
                epoch: reached.epoch.clone(),
                applied,
            },
        }
    }

    /// Whether everything that came since is kept.
    pub fn covers(&self, known: &LogPosition<String>) -> bool {
        let of_this = |reached: &LogPosition<String>| {
            reached.epoch == known.epoch && (self.floor..=reached.applied).contains(&known.applied)
        };
        self.reached.as_ref().is_some_and(of_this)
    }

    /// The number of the last one that is told.
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

    fn at(epoch: &str, applied: u64) -> LogPosition<String> {
        LogPosition {
            epoch: epoch.to_owned(),
            applied,
        }
    }

    fn entry(number: u64, is_told: bool) -> (u64, Entry) {
        let id = Uuid::from_u128(number.into());
        let subject = if is_told {
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
                    ends_at: 1,
                },
            },
        )
    }

    fn followed(most: usize, before: u64, kinds: &[bool]) -> RecentEntries {
        let mut recent = RecentEntries::new(most);
        recent.begin(at("a", before));
        recent.extend(
            (before + 1..)
                .zip(kinds)
                .map(|(number, is_told)| entry(number, *is_told)),
        );
        recent
    }

    proptest! {
        #[test]
        fn a_position_is_read_again(epoch in "[0-9a-f]{1,40}(:[0-9a-f]{1,32})?", applied: u64) {
            prop_assert_eq!(at(&epoch, applied).to_string().parse(), Ok(at(&epoch, applied)));
        }

        #[test]
        fn nothing_else_is_taken_for_one(text in "\\PC{0,250}") {
            if let Ok(position) = text.parse::<LogPosition<String>>() {
                prop_assert!(text.len() <= LONGEST && !position.epoch.is_empty());
            }
        }

        /// Whoever asks again and again is told each one once, in order, in a chain without a gap.
        #[test]
        fn nothing_is_left_out(
            before in 0u64..5,
            kinds: Vec<bool>,
            batch in 1usize..5,
            begun in 0usize..20,
        ) {
            let recent = followed(kinds.len() + 1, before, &kinds);
            let from = before + (begun.min(kinds.len()) as u64);
            let (mut known, mut numbers) = (at("a", from), Vec::new());
            loop {
                let StreamUpdate::Entries { told, position } = recent.after(Some(&known), batch) else {
                    panic!("all is kept")
                };
                prop_assert!(told.len() <= batch);
                for one in &told {
                    prop_assert!(one.previous <= numbers.last().copied().unwrap_or(from), "a gap");
                    numbers.push(one.number);
                }
                prop_assert!(position.applied >= known.applied);
                known = position;
                if told.len() < batch {
                    break;
                }
            }
            let all = (before + 1..).zip(&kinds).filter(|(number, told)| **told && *number > from);
            prop_assert_eq!(numbers, all.map(|(number, _)| number).collect::<Vec<_>>());
            prop_assert_eq!(known, at("a", before + kinds.len() as u64));
        }

        /// Too old, ahead, or of another log: everything anew, never a part.
        #[test]
        fn who_cannot_be_told_the_rest_is_told_everything(
            kinds: Vec<bool>,
            most in 1usize..4,
            known in 0u64..120,
        ) {
            let recent = followed(most, 0, &kinds);
            let reached = kinds.len() as u64;
            let missed = (1..)
                .zip(&kinds)
                .filter(|(number, told)| **told && *number > known)
                .count();
            let is_kept = known <= reached && missed <= most;
            let anew = StreamUpdate::Resync(at("a", reached));
            // What lies before the oldest that is kept may be covered all the same, if nothing is
            // told of it.
            prop_assert!(is_kept || recent.after(Some(&at("a", known)), 9) == anew);
            prop_assert_eq!(recent.after(Some(&at("b", known)), 9), anew.clone());
            prop_assert_eq!(recent.after(None, 9), anew);
        }
    }

    #[test]
    fn the_bound_is_kept() {
        let recent = followed(2, 0, &[true, true, true, false]);
        let told = |numbers: &[(u64, u64)]| StreamUpdate::Entries {
            told: numbers
                .iter()
                .map(|&(number, previous)| StreamEntry {
                    entry: entry(number, true).1,
                    number,
                    previous,
                })
                .collect(),
            position: at("a", 4),
        };
        assert_eq!(
            recent.after(Some(&at("a", 0)), 9),
            StreamUpdate::Resync(at("a", 4))
        );
        assert_eq!(recent.after(Some(&at("a", 1)), 9), told(&[(2, 1), (3, 2)]));
        assert_eq!(recent.after(Some(&at("a", 3)), 9), told(&[]));
        assert_eq!((recent.last(), recent.kept.len()), (3, 2));
    }

    #[test]
    fn a_log_that_is_read_again_is_not_told_again() {
        let mut recent = RecentEntries::new(9);
        assert_eq!(
            (recent.after(None, 9), recent.extend([entry(1, true)])),
            (StreamUpdate::NotFollowing, false)
        );
        recent.begin(at("a", 0));
        assert!(recent.extend([entry(1, true)]) && !recent.extend([entry(2, false)]));
        recent.begin(at("a", 0));
        assert!(
            !recent.extend([entry(1, true), entry(2, false)]) && recent.extend([entry(3, true)])
        );
        let StreamUpdate::Entries { told, position } = recent.after(Some(&at("a", 0)), 9) else {
            panic!("all is kept")
        };
        assert_eq!(
            told.iter()
                .map(|told| (told.number, told.previous))
                .collect::<Vec<_>>(),
            [(1, 0), (3, 1)]
        );
        assert_eq!(position, at("a", 3));
    }

    #[test]
    fn another_log_and_one_that_lacks_something_are_told_anew() {
        let mut recent = followed(9, 0, &[true, true]);
        recent.begin(at("b", 0));
        assert_eq!(
            recent.after(Some(&at("a", 2)), 9),
            StreamUpdate::Resync(at("b", 0))
        );
        recent.extend([entry(1, true)]);
        recent.begin(at("b", 5));
        assert_eq!(
            recent.after(Some(&at("b", 1)), 9),
            StreamUpdate::Resync(at("b", 5)),
            "what lies between is gone"
        );
        recent.forget();
        assert_eq!(
            recent.after(Some(&at("b", 5)), 9),
            StreamUpdate::NotFollowing
        );
        recent.begin(at("b", 0));
        assert_eq!(
            recent.after(Some(&at("b", 5)), 9),
            StreamUpdate::Resync(at("b", 0)),
            "nothing of it is believed"
        );
    }
}
