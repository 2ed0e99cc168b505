//! Revocations: what can be taken back, and what a check must ask about.

use uuid::Uuid;

/// How long the entry of a session or a user is kept, in seconds: longer than any access token lives (one hour at most),
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
}

impl Revocation {
    /// Seconds for which the entry must be remembered, seen from `now`.
    pub fn lifetime(&self, now: u64) -> u64 {
        match self {
            Revocation::Session { .. } | Revocation::User { .. } => ENTRY_SECONDS,
            Revocation::Token { exp, .. } => exp.saturating_sub(now) + TOKEN_MARGIN_SECONDS,
        }
    }
}

/// What a check found about one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    /// Its session has an entry.
    pub session: bool,
    /// It has an entry itself.
    pub token: bool,
    /// The generation below which its user's tokens are refused, if there is one.
    pub user_below: Option<i64>,
}

impl Findings {
    /// Whether a token of this generation is refused. Timestamps never decide.
    pub fn refuse(&self, generation: i64) -> bool {
        self.session || self.token || self.user_below.is_some_and(|below| generation < below)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_allowed_only_when_nothing_speaks_against_it(session: bool, token: bool, below in proptest::option::of(0i64..5), generation in 0i64..5) {
            let findings = Findings { session, token, user_below: below };
            prop_assert_eq!(findings.refuse(generation), session || token || below > Some(generation));
        }

        #[test]
        fn the_entry_of_a_token_outlives_it(exp in 0u64..1 << 40, now in 0u64..1 << 40) {
            let entry = Revocation::Token { jti: Uuid::nil(), exp };
            prop_assert!(now + entry.lifetime(now) > exp);
        }
    }
}
