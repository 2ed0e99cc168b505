//! Entries: what a revocation is called in the log, on the denylist and in memory.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::access_token::Kid;

/// What can have an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A session.
    Session(Uuid),
    /// A user.
    User(Uuid),
    /// An OAuth client.
    Client(Uuid),
    /// A single token.
    Token(Uuid),
    /// A signing key.
    Key(Kid),
    /// Nothing that could be taken back: what a replica writes into the log to see how fast entries
    /// arrive.
    Probe(Uuid),
}

impl Subject {
    /// What its kind is called in the log and on the denylist.
    pub const fn kind(&self) -> &'static str {
        match self {
            Subject::Session(_) => "sid",
            Subject::User(_) => "user",
            Subject::Client(_) => "client",
            Subject::Token(_) => "jti",
            Subject::Key(_) => "kid",
            Subject::Probe(_) => "probe",
        }
    }

    /// What its kind is called where others follow what is taken back; nothing for a canary, of
    /// which nobody is told.
    pub const fn stream_name(&self) -> Option<&'static str> {
        match self {
            Subject::Session(_) => Some("session"),
            Subject::User(_) => Some("user"),
            Subject::Client(_) => Some("client"),
            Subject::Token(_) => Some("token"),
            Subject::Key(_) => Some("key"),
            Subject::Probe(_) => None,
        }
    }

    /// Its id as text.
    pub fn id(&self) -> String {
        match self {
            Subject::Session(id)
            | Subject::User(id)
            | Subject::Client(id)
            | Subject::Token(id)
            | Subject::Probe(id) => id.to_string(),
            Subject::Key(kid) => kid.to_string(),
        }
    }

    fn read(kind: &str, id: &str) -> Option<Subject> {
        match kind {
            "sid" => id.parse().ok().map(Subject::Session),
            "user" => id.parse().ok().map(Subject::User),
            "client" => id.parse().ok().map(Subject::Client),
            "jti" => id.parse().ok().map(Subject::Token),
            "kid" => id.parse().ok().map(Subject::Key),
            "probe" => id.parse().ok().map(Subject::Probe),
            _other => None,
        }
    }
}

/// What an entry says, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryState {
    /// Of a user or a client: tokens with a smaller generation are refused. Of a canary: its
    /// number. Of anything else: [`EntryState::FLAG`].
    pub value: i64,
    /// Until when it matters, in seconds since the epoch.
    pub ends_at: u64,
}

impl EntryState {
    /// It is refused.
    pub const FLAG: i64 = 1;

    /// Of two entries for one subject the larger generation and the later end win, in whatever
    /// order they come.
    #[must_use]
    pub fn and(self, other: EntryState) -> EntryState {
        EntryState {
            value: self.value.max(other.value),
            ends_at: self.ends_at.max(other.ends_at),
        }
    }
}

/// One subject and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Of whom.
    pub subject: Subject,
    /// What.
    pub state: EntryState,
}

impl Entry {
    /// The generation below which tokens are refused; nothing where all are.
    pub fn below(&self) -> Option<i64> {
        match self.subject {
            Subject::User(_) | Subject::Client(_) => Some(self.state.value),
            Subject::Session(_) | Subject::Token(_) | Subject::Key(_) | Subject::Probe(_) => None,
        }
    }
}

/// An entry of a kind that this version does not know: it cannot say that it knows everything that
/// was taken back.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownEntry;

/// As it stands in the log.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry {
            subject,
            state: EntryState { value, ends_at },
        } = self;
        write!(f, "{} {} {value} {ends_at}", subject.kind(), subject.id())
    }
}

impl FromStr for Entry {
    type Err = UnknownEntry;

    fn from_str(text: &str) -> Result<Entry, UnknownEntry> {
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, id, value, ends_at] = words[..] else {
            return Err(UnknownEntry);
        };
        let subject = Subject::read(kind, id).ok_or(UnknownEntry)?;
        let state = EntryState {
            value: value.parse().map_err(|_| UnknownEntry)?,
            ends_at: ends_at.parse().map_err(|_| UnknownEntry)?,
        };
        Ok(Entry { subject, state })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = EntryState> {
        (0i64..5, 0u64..5).prop_map(|(value, ends_at)| EntryState { value, ends_at })
    }

    fn subject() -> impl Strategy<Value = Subject> {
        let id = any::<u128>().prop_map(Uuid::from_u128);
        let kid = "[A-Za-z0-9_-]{16}".prop_map(|kid| Subject::Key(kid.parse().unwrap()));
        prop_oneof![
            id.clone().prop_map(Subject::Session),
            id.clone().prop_map(Subject::User),
            id.clone().prop_map(Subject::Client),
            id.clone().prop_map(Subject::Token),
            id.prop_map(Subject::Probe),
            kid
        ]
    }

    proptest! {
        #[test]
        fn the_larger_wins_in_any_order(
            mut all in proptest::collection::vec(state(), 1..6),
            turn in 0usize..6,
        ) {
            let together = |all: &[EntryState]| all.iter().copied().reduce(EntryState::and).unwrap();
            let before = together(&all);
            let turn = turn % all.len();
            all.rotate_left(turn);
            all.push(all[0]);
            prop_assert_eq!(together(&all), before);
            prop_assert!(
                all.iter()
                    .all(|one| one.value <= before.value && one.ends_at <= before.ends_at)
            );
        }

        #[test]
        fn what_is_written_into_the_log_is_read_again(
            subject in subject(),
            value: i64,
            ends_at: u64,
        ) {
            let entry = Entry { subject, state: EntryState { value, ends_at } };
            prop_assert_eq!(entry.to_string().parse(), Ok(entry));
        }

        #[test]
        fn nothing_else_is_taken_for_an_entry(text in "[a-z]{0,6}( [0-9a-f-]{0,36}){0,4}") {
            let read = text.parse::<Entry>();
            prop_assert!(read == Err(UnknownEntry) || read.unwrap().to_string() == text);
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_unknown() {
        assert_eq!(
            "tenant 018f0000-0000-7000-8000-000000000000 2 1800000000".parse::<Entry>(),
            Err(UnknownEntry)
        );
        assert!(
            "user 018f0000-0000-7000-8000-000000000000 2 1800000000"
                .parse::<Entry>()
                .is_ok()
        );
    }
}
