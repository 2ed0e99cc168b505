//! Revocations: what can be taken back, what a check must ask about, and (in [`lease`]) when memory may answer and when a
//! revocation has taken effect everywhere.

mod entry;
pub mod lease;
mod reason;

use uuid::Uuid;

pub use entry::{Entry, Standing, Subject, Unknown};
pub use reason::Reason;

use super::access_token::Kid;

/// How long the entry of a session, a user or a key is kept, in seconds: longer than any access token lives (one hour at most),
/// whatever a setting says today, because a lower setting tomorrow must not shorten it.
pub const ENTRY_SECONDS: u64 = 65 * 60;

/// How long the entry of a single token outlives its `exp`, in seconds: wall clocks may disagree by two minutes.
pub const TOKEN_MARGIN_SECONDS: u64 = 5 * 60;

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
        /// Tokens with a smaller `gen` are refused.
        below: i64,
    },
    /// One access token.
    Token {
        /// The token.
        jti: Uuid,
        /// Its `exp`.
        exp: u64,
    },
    /// Everything that a key signed.
    Key {
        /// The key.
        kid: Kid,
    },
}

impl Revocation {
    /// What it is called, where it is counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Revocation::Session { .. } => "session",
            Revocation::User { .. } => "user",
            Revocation::Token { .. } => "token",
            Revocation::Key { .. } => "key",
        }
    }

    /// Seconds for which the entry must be remembered, seen from `now`.
    pub fn lifetime(&self, now: u64) -> u64 {
        match self {
            Revocation::Session { .. } | Revocation::User { .. } | Revocation::Key { .. } => ENTRY_SECONDS,
            Revocation::Token { exp, .. } => exp.saturating_sub(now) + TOKEN_MARGIN_SECONDS,
        }
    }

    /// The entry that is published at `now`.
    pub fn entry(&self, now: u64) -> Entry {
        let ends_at = now + self.lifetime(now);
        let (subject, value) = match self {
            Revocation::Session { sid } => (Subject::Session(*sid), Standing::FLAG),
            Revocation::User { sub, below } => (Subject::User(*sub), *below),
            Revocation::Token { jti, .. } => (Subject::Token(*jti), Standing::FLAG),
            Revocation::Key { kid } => (Subject::Key(*kid), Standing::FLAG),
        };
        Entry { subject, standing: Standing { value, ends_at } }
    }
}

/// What one event took back: in the record once it is committed, and in Redis once it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Whose it was.
    pub sub: Uuid,
    /// Why, for the person who asks.
    pub reason: Reason,
    /// All of it.
    pub entries: Vec<Revocation>,
}

impl Ending {
    /// The end of single sessions.
    pub fn of_sessions(sub: Uuid, sids: &[Uuid], reason: Reason) -> Ending {
        Ending { sub, reason, entries: sids.iter().map(|sid| Revocation::Session { sid: *sid }).collect() }
    }

    /// The end of everything of a user below a generation.
    pub fn of_user(sub: Uuid, below: i64, reason: Reason) -> Ending {
        Ending { sub, reason, entries: vec![Revocation::User { sub, below }] }
    }

    /// The sessions among it.
    pub fn sessions(&self) -> Vec<Uuid> {
        let session = |entry: &Revocation| match entry {
            Revocation::Session { sid } => Some(*sid),
            Revocation::User { .. } | Revocation::Token { .. } | Revocation::Key { .. } => None,
        };
        self.entries.iter().filter_map(session).collect()
    }

    /// The generation among it.
    pub fn below(&self) -> Option<i64> {
        let below = |entry: &Revocation| match entry {
            Revocation::User { below, .. } => Some(*below),
            Revocation::Session { .. } | Revocation::Token { .. } | Revocation::Key { .. } => None,
        };
        self.entries.iter().find_map(below)
    }
}

/// Everything about a token that can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marks {
    /// The key that signed it.
    pub kid: Kid,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The token itself.
    pub jti: Uuid,
    /// The user's generation at the sign-in.
    pub generation: i64,
}

/// What a check found about one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    /// Its key has an entry.
    pub key: bool,
    /// Its session has an entry.
    pub session: bool,
    /// It has an entry itself.
    pub token: bool,
    /// The generation below which its user's tokens are refused, if there is one.
    pub user_below: Option<i64>,
}

impl Marks {
    /// The subjects whose entries speak of the token: key, user, session, token.
    pub fn subjects(&self) -> [Subject; 4] {
        [Subject::Key(self.kid), Subject::User(self.sub), Subject::Session(self.sid), Subject::Token(self.jti)]
    }
}

impl Findings {
    /// What the values of the subjects say, in the order of [`Marks::subjects`].
    pub fn of([key, user_below, session, token]: [Option<i64>; 4]) -> Findings {
        Findings { key: key.is_some(), session: session.is_some(), token: token.is_some(), user_below }
    }

    /// Whether a token of this generation is refused. Timestamps never decide.
    pub fn refuse(&self, generation: i64) -> bool {
        self.key || self.session || self.token || self.user_below.is_some_and(|below| generation < below)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_allowed_only_when_nothing_speaks_against_it(key: bool, session: bool, token: bool, below in proptest::option::of(0i64..5), generation in 0i64..5) {
            let findings = Findings { key, session, token, user_below: below };
            prop_assert_eq!(findings.refuse(generation), key || session || token || below > Some(generation));
        }

        #[test]
        fn the_entry_of_a_token_outlives_it(exp in 0u64..1 << 40, now in 0u64..1 << 40) {
            let entry = Revocation::Token { jti: Uuid::nil(), exp };
            prop_assert!(now + entry.lifetime(now) > exp);
        }
    }
}
