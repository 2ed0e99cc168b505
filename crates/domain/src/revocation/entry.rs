//! Entries of the revocation log, the denylist, and the revocation set.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::access_token::Kid;

/// Subject of an entry. Entries with the same subject are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A session.
    Session(Uuid),
    /// A user.
    User(Uuid),
    /// An OAuth client.
    Client(Uuid),
    /// One access token or personal access token.
    Token(Uuid),
    /// A signing key.
    Key(Kid),
    /// The identity of a user, which revokes nothing and invalidates cached claims.
    Identity(Uuid),
    /// A propagation probe, which revokes nothing and measures how fast entries arrive.
    Probe(Uuid),
}

impl Subject {
    /// Returns the kind, as in the revocation log, in denylist keys, in the revocation stream, in
    /// PostgreSQL, and in metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Subject::Session(_) => "session",
            Subject::User(_) => "user",
            Subject::Client(_) => "client",
            Subject::Token(_) => "token",
            Subject::Key(_) => "key",
            Subject::Identity(_) => "identity",
            Subject::Probe(_) => "probe",
        }
    }

    /// Returns whether the revocation stream contains entries of this subject.
    ///
    /// It omits entries that revoke nothing.
    pub const fn is_streamed(&self) -> bool {
        !matches!(self, Subject::Identity(_) | Subject::Probe(_))
    }

    /// Returns the ID as text.
    pub fn id(&self) -> String {
        match self {
            Subject::Session(id)
            | Subject::User(id)
            | Subject::Client(id)
            | Subject::Token(id)
            | Subject::Identity(id)
            | Subject::Probe(id) => id.to_string(),
            Subject::Key(kid) => kid.to_string(),
        }
    }

    fn parse(kind: &str, id: &str) -> Option<Subject> {
        match kind {
            "session" => id.parse().ok().map(Subject::Session),
            "user" => id.parse().ok().map(Subject::User),
            "client" => id.parse().ok().map(Subject::Client),
            "token" => id.parse().ok().map(Subject::Token),
            "key" => id.parse().ok().map(Subject::Key),
            "identity" => id.parse().ok().map(Subject::Identity),
            "probe" => id.parse().ok().map(Subject::Probe),
            _other => None,
        }
    }
}

/// Value and expiry of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryState {
    /// Value, whose meaning depends on the subject.
    ///
    /// For a user or a client, tokens with a generation below the value are rejected. For an
    /// identity, it is the version. For a probe, it is the number of the probe. For all other
    /// subjects, it is [`EntryState::FLAG`].
    pub value: i64,
    /// Expiry of the entry, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl EntryState {
    /// Value of an entry that rejects all tokens of its subject.
    pub const FLAG: i64 = 1;

    /// Merges the states of two entries with the same subject.
    ///
    /// The larger value and the later expiry win, so the result does not depend on the order in
    /// which the entries arrive.
    #[must_use]
    pub fn and(self, other: EntryState) -> EntryState {
        EntryState {
            value: self.value.max(other.value),
            expires_at: self.expires_at.max(other.expires_at),
        }
    }
}

/// One entry of the revocation log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Subject of the entry.
    pub subject: Subject,
    /// Value and expiry of the entry.
    pub state: EntryState,
}

impl Entry {
    /// Returns the smallest generation that is still valid; `None` if all tokens are rejected.
    pub fn below(&self) -> Option<i64> {
        match self.subject {
            Subject::User(_) | Subject::Client(_) => Some(self.state.value),
            Subject::Session(_)
            | Subject::Token(_)
            | Subject::Key(_)
            | Subject::Identity(_)
            | Subject::Probe(_) => None,
        }
    }
}

/// Error for an entry that this version cannot parse.
///
/// A newer version might have written the entry. A replica that cannot apply an entry cannot
/// decide checks, because its revocation set is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEntry;

/// Writes the text of the entry in the log: `<kind> <id> <value> <expiry>`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry {
            subject,
            state: EntryState { value, expires_at },
        } = self;
        write!(
            f,
            "{} {} {value} {expires_at}",
            subject.kind(),
            subject.id()
        )
    }
}

impl FromStr for Entry {
    type Err = UnknownEntry;

    fn from_str(text: &str) -> Result<Entry, UnknownEntry> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [kind, id, value, expires_at] = fields[..] else {
            return Err(UnknownEntry);
        };
        let subject = Subject::parse(kind, id).ok_or(UnknownEntry)?;
        let state = EntryState {
            value: value.parse().map_err(|_| UnknownEntry)?,
            expires_at: expires_at.parse().map_err(|_| UnknownEntry)?,
        };
        Ok(Entry { subject, state })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_state() -> impl Strategy<Value = EntryState> {
        (0i64..5, 0u64..5).prop_map(|(value, expires_at)| EntryState { value, expires_at })
    }

    fn any_subject() -> impl Strategy<Value = Subject> {
        let id = any::<u128>().prop_map(Uuid::from_u128);
        let kid = "[A-Za-z0-9_-]{16}".prop_map(|kid| Subject::Key(kid.parse().unwrap()));
        prop_oneof![
            id.clone().prop_map(Subject::Session),
            id.clone().prop_map(Subject::User),
            id.clone().prop_map(Subject::Client),
            id.clone().prop_map(Subject::Token),
            id.clone().prop_map(Subject::Identity),
            id.prop_map(Subject::Probe),
            kid
        ]
    }

    proptest! {
        #[test]
        fn merge_in_any_order_keeps_larger_values(
            mut states in proptest::collection::vec(any_state(), 1..6),
            offset in 0usize..6,
        ) {
            let merge = |all: &[EntryState]| all.iter().copied().reduce(EntryState::and).unwrap();
            let merged = merge(&states);
            let offset = offset % states.len();
            states.rotate_left(offset);
            states.push(states[0]);
            prop_assert_eq!(merge(&states), merged);
            prop_assert!(
                states.iter()
                    .all(|state| state.value <= merged.value && state.expires_at <= merged.expires_at)
            );
        }

        #[test]
        fn written_entry_parses_to_same_entry(
            subject in any_subject(),
            value: i64,
            expires_at: u64,
        ) {
            let entry = Entry { subject, state: EntryState { value, expires_at } };
            prop_assert_eq!(entry.to_string().parse(), Ok(entry));
        }

        #[test]
        fn other_text_is_not_parsed_as_entry(text in "[a-z]{0,6}( [0-9a-f-]{0,36}){0,4}") {
            let parsed = text.parse::<Entry>();
            prop_assert!(parsed == Err(UnknownEntry) || parsed.unwrap().to_string() == text);
        }
    }

    #[test]
    fn entry_of_newer_version_is_unknown() {
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
