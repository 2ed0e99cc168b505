//! Revocations: what can be taken back, and what a check must ask about.

use uuid::Uuid;

/// How long the entry of a session or a user is kept, in seconds: longer than any access token lives (one hour at most),
/// whatever a setting says today, because a lower setting tomorrow must not shorten it.
pub const ENTRY_SECONDS: u64 = 65 * 60;

/// How long the entry of a single token outlives its `exp`, in seconds: wall clocks may disagree by two minutes.
pub const TOKEN_MARGIN_SECONDS: u64 = 5 * 60;

/// Declares [`Reason`]: variant, the word that is stored, and words that follow "ended".
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $word:literal $told:literal;)*) => {
        /// Why something ended, for the person who asks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The reason as it is stored.
            pub const fn as_str(self) -> &'static str { match self { $(Reason::$variant => $word,)* } }

            /// The reason in words that follow "ended".
            pub const fn told(self) -> &'static str { match self { $(Reason::$variant => $told,)* } }

            /// Whether it ends everything of an account, and not single sessions.
            pub const fn ends_everything(self) -> bool {
                match self {
                    Reason::LogoutAll
                    | Reason::PasswordReset
                    | Reason::Disabled
                    | Reason::RoleChange
                    | Reason::AccountDeleted
                    | Reason::Revoked => true,
                    Reason::Logout
                    | Reason::LogoutOthers
                    | Reason::SessionDeleted
                    | Reason::PasswordChange
                    | Reason::EmailChange
                    | Reason::Reuse
                    | Reason::TooManySessions => false,
                }
            }

            /// The reason that is stored as this word.
            pub fn from_name(name: &str) -> Option<Reason> {
                Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

reasons! {
    /// Its owner signed out.
    Logout "logout" "by signing out";
    /// Its owner signed all other sessions out.
    LogoutOthers "logout_others" "by signing out everywhere else";
    /// Its owner signed all sessions out.
    LogoutAll "logout_all" "by signing out everywhere";
    /// Its owner ended it from the list of devices.
    SessionDeleted "session_deleted" "from the list of devices";
    /// The password was changed.
    PasswordChange "password_change" "by a change of password";
    /// The password was reset.
    PasswordReset "password_reset" "by a reset of the password";
    /// The address was changed.
    EmailChange "email_change" "by a change of the e-mail address";
    /// The account was disabled.
    Disabled "disabled" "because the account was disabled";
    /// The account's role was changed.
    RoleChange "role_change" "by a change of the role";
    /// The account was deleted.
    AccountDeleted "account_deleted" "because the account was deleted";
    /// An administrator or the operator took it back.
    Revoked "revoked" "by an administrator";
    /// A refresh token was used twice.
    Reuse "reuse" "because a refresh token was used twice";
    /// A newer sign-in took its place.
    TooManySessions "too_many_sessions" "because there were too many newer ones";
}

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
            Revocation::User { .. } | Revocation::Token { .. } => None,
        };
        self.entries.iter().filter_map(session).collect()
    }

    /// The generation among it.
    pub fn below(&self) -> Option<i64> {
        let below = |entry: &Revocation| match entry {
            Revocation::User { below, .. } => Some(*below),
            Revocation::Session { .. } | Revocation::Token { .. } => None,
        };
        self.entries.iter().find_map(below)
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
