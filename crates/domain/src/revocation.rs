//! Revocations: what can be taken back, what a check must ask about, and (in [`lease`]) when memory
//! may answer and when a revocation has taken effect everywhere.

mod entry;
pub mod lease;
pub mod leased_set;
mod reason;
pub mod recent_entries;

use uuid::Uuid;

pub use crate::revocation::entry::{Entry, EntryState, Subject, UnknownEntry};
pub use crate::revocation::reason::Reason;

use crate::access_token::Kid;

/// The types that [`leased_set`] is built from. Its model replaces them.
mod sync {
    pub use std::sync::atomic::{AtomicU64, Ordering};

    pub use super::lease::{BootTime, is_lease_valid};
}

/// How long the entry of a session, a user or a key is kept, in seconds: longer than any access
/// token lives (one hour at most), whatever a setting says today, because a lower setting tomorrow
/// must not shorten it.
pub const ENTRY_SECONDS: u64 = 65 * 60;

/// How long the entry of a single token outlives its `exp`, in seconds: wall clocks may disagree by
/// two minutes.
pub const TOKEN_MARGIN_SECONDS: u64 = 5 * 60;

/// How long what was read of a personal access token is believed, in seconds, before it is read
/// again.
pub const PERSONAL_TOKEN_SECONDS: u64 = 10 * 60;

/// One thing that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// A session with all its tokens.
    Session {
        /// The session.
        sid: Uuid,
    },
    /// All tokens of a user below a generation.
    User {
        /// The user.
        sub: Uuid,
        /// Tokens with a smaller generation are rejected.
        below: i64,
    },
    /// All tokens of an OAuth client below a generation.
    Client {
        /// The client.
        id: Uuid,
        /// Tokens with a smaller generation are rejected.
        below: i64,
    },
    /// One access token.
    Token {
        /// The token.
        jti: Uuid,
        /// Its `exp`.
        exp: u64,
    },
    /// One personal access token. It may live for years, but nobody believes what was read of it
    /// for longer than [`PERSONAL_TOKEN_SECONDS`].
    PersonalToken {
        /// The token.
        id: Uuid,
    },
    /// Everything that a key signed.
    Key {
        /// The key.
        kid: Kid,
    },
}

impl Revocation {
    /// What it is called in the record, and where it is counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Revocation::Session { .. } => "session",
            Revocation::User { .. } => "user",
            Revocation::Client { .. } => "client",
            Revocation::Token { .. } | Revocation::PersonalToken { .. } => "token",
            Revocation::Key { .. } => "key",
        }
    }

    /// Seconds for which the entry must be remembered, seen from `now`.
    pub fn lifetime(&self, now: u64) -> u64 {
        match self {
            Revocation::Token { exp, .. } => exp.saturating_sub(now) + TOKEN_MARGIN_SECONDS,
            Revocation::Session { .. }
            | Revocation::User { .. }
            | Revocation::Client { .. }
            | Revocation::PersonalToken { .. }
            | Revocation::Key { .. } => ENTRY_SECONDS,
        }
    }

    /// The entry that is published at `now`.
    pub fn entry(&self, now: u64) -> Entry {
        let ends_at = now + self.lifetime(now);
        let (subject, value) = match self {
            Revocation::Session { sid } => (Subject::Session(*sid), EntryState::FLAG),
            Revocation::User { sub, below } => (Subject::User(*sub), *below),
            Revocation::Client { id, below } => (Subject::Client(*id), *below),
            Revocation::Token { jti: id, .. } | Revocation::PersonalToken { id } => {
                (Subject::Token(*id), EntryState::FLAG)
            }
            Revocation::Key { kid } => (Subject::Key(*kid), EntryState::FLAG),
        };
        Entry {
            subject,
            state: EntryState { value, ends_at },
        }
    }
}

/// What one event took back: in the record once it is committed, and in Redis once it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationBatch {
    /// Whose account it was of; a client or a key belongs to nobody.
    pub sub: Option<Uuid>,
    /// Why, for the person who asks.
    pub reason: Reason,
    /// All of it.
    pub entries: Vec<Revocation>,
}

impl RevocationBatch {
    /// The end of single sessions.
    pub fn of_sessions(sub: Uuid, sids: &[Uuid], reason: Reason) -> RevocationBatch {
        let entries = sids
            .iter()
            .map(|sid| Revocation::Session { sid: *sid })
            .collect();
        RevocationBatch {
            sub: Some(sub),
            reason,
            entries,
        }
    }

    /// The end of everything of a user below a generation.
    pub fn of_user(sub: Uuid, below: i64, reason: Reason) -> RevocationBatch {
        RevocationBatch {
            sub: Some(sub),
            reason,
            entries: vec![Revocation::User { sub, below }],
        }
    }

    /// The end of everything of a client below a generation.
    pub fn of_client(id: Uuid, below: i64, reason: Reason) -> RevocationBatch {
        RevocationBatch {
            sub: None,
            reason,
            entries: vec![Revocation::Client { id, below }],
        }
    }

    /// The end of one personal access token.
    pub fn of_personal_token(sub: Uuid, id: Uuid, reason: Reason) -> RevocationBatch {
        RevocationBatch {
            sub: Some(sub),
            reason,
            entries: vec![Revocation::PersonalToken { id }],
        }
    }

    /// The end of one access token.
    pub fn of_token(sub: Option<Uuid>, jti: Uuid, exp: u64, reason: Reason) -> RevocationBatch {
        RevocationBatch {
            sub,
            reason,
            entries: vec![Revocation::Token { jti, exp }],
        }
    }

    /// The end of everything that a key signed.
    pub fn of_key(kid: Kid, reason: Reason) -> RevocationBatch {
        RevocationBatch {
            sub: None,
            reason,
            entries: vec![Revocation::Key { kid }],
        }
    }

    /// The sessions among it.
    pub fn sessions(&self) -> Vec<Uuid> {
        let session = |entry: &Revocation| {
            if let Revocation::Session { sid } = entry {
                Some(*sid)
            } else {
                None
            }
        };
        self.entries.iter().filter_map(session).collect()
    }

    /// The generation among it of the account that it is of.
    pub fn below(&self) -> Option<i64> {
        let below = |entry: &Revocation| {
            if let Revocation::User { below, .. } = entry {
                Some(*below)
            } else {
                None
            }
        };
        self.entries.iter().find_map(below)
    }
}

/// Everything about a token that can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationKeys {
    /// An access token of a user's session.
    Session {
        /// The key that signed it.
        kid: Kid,
        /// The user.
        sub: Uuid,
        /// The session.
        sid: Uuid,
        /// The token itself.
        jti: Uuid,
        /// The user's generation at the sign-in.
        generation: i64,
    },
    /// An access token of an OAuth client.
    Client {
        /// The key that signed it.
        kid: Kid,
        /// The client.
        id: Uuid,
        /// The token itself.
        jti: Uuid,
        /// The client's generation when it was issued.
        generation: i64,
    },
    /// A personal access token, which outlives sessions and keys, and nothing that ends everything
    /// of its user.
    PersonalAccessToken {
        /// The token itself.
        id: Uuid,
        /// The user.
        sub: Uuid,
        /// The user's generation when it was made.
        generation: i64,
    },
}

impl RevocationKeys {
    /// The subjects whose entries speak of the token.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let subjects = match *self {
            RevocationKeys::Session {
                kid, sub, sid, jti, ..
            } => [
                Some(Subject::Key(kid)),
                Some(Subject::User(sub)),
                Some(Subject::Session(sid)),
                Some(Subject::Token(jti)),
            ],
            RevocationKeys::Client { kid, id, jti, .. } => [
                Some(Subject::Key(kid)),
                Some(Subject::Client(id)),
                None,
                Some(Subject::Token(jti)),
            ],
            RevocationKeys::PersonalAccessToken { id, sub, .. } => [
                None,
                Some(Subject::User(sub)),
                None,
                Some(Subject::Token(id)),
            ],
        };
        subjects.into_iter().flatten()
    }

    /// The first subject whose entry refuses the token, by what each one's entry says, if there is
    /// one. Timestamps never decide.
    pub fn find_revoked_subject(
        &self,
        mut value: impl FnMut(&Subject) -> Option<i64>,
    ) -> Option<Subject> {
        self.subjects()
            .find(|subject| value(subject).is_some_and(|value| self.is_refused(subject, value)))
    }

    /// Whether an entry of this value for one of its subjects refuses it.
    fn is_refused(&self, subject: &Subject, value: i64) -> bool {
        match subject {
            Subject::User(_) | Subject::Client(_) => self.generation() < value,
            Subject::Session(_) | Subject::Token(_) | Subject::Key(_) | Subject::Probe(_) => true,
        }
    }

    /// The token itself, as answers about many tokens name it.
    pub const fn jti(&self) -> Uuid {
        match self {
            RevocationKeys::Session { jti, .. }
            | RevocationKeys::Client { jti, .. }
            | RevocationKeys::PersonalAccessToken { id: jti, .. } => *jti,
        }
    }

    /// The generation, of its user or client, at which it was issued.
    const fn generation(&self) -> i64 {
        match self {
            RevocationKeys::Session { generation, .. }
            | RevocationKeys::Client { generation, .. }
            | RevocationKeys::PersonalAccessToken { generation, .. } => *generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kid() -> Kid {
        "AAAAAAAAAAAAAAAA".parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_token_is_allowed_only_when_nothing_speaks_against_it(
            key: bool,
            session: bool,
            token: bool,
            below in proptest::option::of(0i64..5),
            generation in 0i64..5,
        ) {
            let (sub, sid, jti) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
            let value = |subject: &Subject| match subject {
                Subject::Key(_) => key.then_some(EntryState::FLAG),
                Subject::User(id) | Subject::Client(id) => below.filter(|_| *id == sub),
                Subject::Session(id) => (session && *id == sid).then_some(EntryState::FLAG),
                Subject::Token(id) => (token && *id == jti).then_some(EntryState::FLAG),
                Subject::Probe(_) => Some(EntryState::FLAG),
            };
            let of_all = below > Some(generation);
            let marks = RevocationKeys::Session { kid: kid(), sub, sid, jti, generation };
            prop_assert_eq!(marks.find_revoked_subject(value).is_some(), key || session || token || of_all);
            let marks = RevocationKeys::Client { kid: kid(), id: sub, jti, generation };
            prop_assert_eq!(marks.find_revoked_subject(value).is_some(), key || token || of_all);
            let marks = RevocationKeys::PersonalAccessToken { id: jti, sub, generation };
            prop_assert_eq!(marks.find_revoked_subject(value).is_some(), token || of_all);
        }

        #[test]
        fn the_entry_of_a_token_outlives_it(exp in 0u64..1 << 40, now in 0u64..1 << 40) {
            let entry = Revocation::Token { jti: Uuid::nil(), exp };
            prop_assert!(now + entry.lifetime(now) > exp);
        }
    }

    #[test]
    fn the_entry_of_a_personal_token_outlives_whatever_was_read_of_it_before() {
        assert!(Revocation::PersonalToken { id: Uuid::nil() }.lifetime(0) > PERSONAL_TOKEN_SECONDS);
    }
}
