//! Audit events: a closed list of kinds, with actor, user, origin, and outcome.
//!
//! An event never contains a credential or a submitted username, because users type passwords into
//! the wrong field.

use std::borrow::Cow;

use uuid::Uuid;

use crate::{access_token::Kid, text};

/// Declares [`EventKind`]: variant, stored value, outcome, and log message.
macro_rules! kinds {
    ($($variant:ident $word:literal $outcome:ident $message:literal;)*) => {
        /// The kind of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $(#[doc = $message] $variant,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[EventKind] = &[$(EventKind::$variant,)*];

            /// The kind as it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventKind::$variant => $word,)* }
            }

            /// The outcome of events of this kind.
            pub const fn outcome(self) -> Outcome {
                match self { $(EventKind::$variant => Outcome::$outcome,)* }
            }

            /// The log message.
            pub const fn message(self) -> &'static str {
                match self { $(EventKind::$variant => $message,)* }
            }
        }
    };
}

kinds! {
    SignUp "sign_up" Success "user registered";
    SignIn "sign_in" Success "user signed in";
    SignInFailed "sign_in_failed" Failure "sign-in failed";
    SignOut "sign_out" Success "user signed out";
    SessionRevoked "session_revoked" Success "session revoked";
    SessionsRevoked "sessions_revoked" Success "sessions revoked";
    RefreshTokenReused "refresh_token_reused" Failure "refresh token reused; session revoked";
    PasswordChanged "password_changed" Success "password changed";
    PasswordCheckFailed "password_check_failed" Failure "current password incorrect";
    PasswordReset "password_reset" Success "password reset";
    CodeRequested "code_requested" Success "one-time code requested";
    CodeCheckFailed "code_check_failed" Failure "one-time code incorrect";
    EmailChangeRequested "email_change_requested" Success "email change requested";
    EmailChanged "email_changed" Success "email changed";
    EmailVerified "email_verified" Success "email verified";
    ProfileUpdated "profile_updated" Success "profile updated";
    UserCreated "user_created" Success "user created";
    UserDisabled "user_disabled" Success "user disabled";
    UserEnabled "user_enabled" Success "user enabled";
    RoleChanged "role_changed" Success "role changed";
    UserDeleted "user_deleted" Success "user deleted";
    TokenRevoked "token_revoked" Success "access token revoked";
    PersonalAccessTokenCreated "personal_access_token_created" Success "personal access token created";
    PersonalAccessTokenRevoked "personal_access_token_revoked" Success "personal access token revoked";
    ClientAuthenticationFailed "client_authentication_failed" Failure "client authentication failed";
    OAuthClientCreated "oauth_client_created" Success "OAuth client registered";
    ClientSecretRotated "client_secret_rotated" Success "client secret rotated";
    OAuthClientDeleted "oauth_client_deleted" Success "OAuth client deleted";
    SigningKeyCreated "signing_key_rotated" Success "signing key created";
    SigningKeyRevoked "signing_key_revoked" Success "signing key revoked";
    RateLimited "rate_limited" Failure "rate limit exceeded";
}

/// How something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was rejected.
    Failure,
}

impl Outcome {
    /// The outcome as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The owner of the account, signed in or proving it.
    User(Uuid),
    /// An administrator.
    Admin(Uuid),
    /// An OAuth client, for itself.
    Client(Uuid),
    /// The operator, on the command line.
    Operator,
    /// The server itself.
    Server,
    /// An unauthenticated caller.
    Unauthenticated,
}

impl Actor {
    /// The kind of actor as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Actor::User(_) => "user",
            Actor::Admin(_) => "admin",
            Actor::Client(_) => "client",
            Actor::Operator => "operator",
            Actor::Server => "server",
            Actor::Unauthenticated => "unauthenticated",
        }
    }

    /// Whether the owner of an account may know who of this kind of actor it was, and from where:
    /// what the owner did, or what nobody in particular did.
    pub fn is_visible_to_owner(word: &str) -> bool {
        [
            Actor::User(Uuid::nil()),
            Actor::Server,
            Actor::Unauthenticated,
        ]
        .iter()
        .any(|actor| actor.as_str() == word)
    }

    /// The account of whoever did it.
    pub const fn id(self) -> Option<Uuid> {
        match self {
            Actor::User(id) | Actor::Admin(id) | Actor::Client(id) => Some(id),
            Actor::Operator | Actor::Server | Actor::Unauthenticated => None,
        }
    }
}

/// One thing that happened. When it happened is added where it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuditEvent {
    /// What.
    pub kind: EventKind,
    /// Who.
    pub actor: Actor,
    /// Whose account it is about, if there is one.
    pub user: Option<Uuid>,
    /// The session that it is about, or that it was done from.
    pub session: Option<Uuid>,
    /// Where it came from: an address, or a network.
    pub address: Option<String>,
    /// What it came from, in its own words.
    pub agent: Option<String>,
    /// Why, in a word of ours; of a key, its id.
    pub reason: Option<Cow<'static, str>>,
}

impl AuditEvent {
    /// Something that somebody did to an account.
    pub fn new(kind: EventKind, actor: Actor, user: Option<Uuid>) -> AuditEvent {
        AuditEvent {
            kind,
            actor,
            user,
            session: None,
            address: None,
            agent: None,
            reason: None,
        }
    }

    /// With the session.
    pub fn of_session(self, sid: Uuid) -> AuditEvent {
        AuditEvent {
            session: Some(sid),
            ..self
        }
    }

    /// With the reason.
    pub fn with_reason(self, reason: &'static str) -> AuditEvent {
        AuditEvent {
            reason: Some(reason.into()),
            ..self
        }
    }

    /// With the key that it is about.
    pub fn of_key(self, kid: Kid) -> AuditEvent {
        AuditEvent {
            reason: Some(kid.to_string().into()),
            ..self
        }
    }

    /// With where it came from, and from what; neither can forge a line.
    pub fn from(self, address: &str, agent: Option<&str>) -> AuditEvent {
        AuditEvent {
            address: Some(text::escaped(address)),
            agent: agent.map(text::escaped),
            ..self
        }
    }

    /// The id of the row that counts all events like this one within a minute (in ms since the
    /// epoch), on every replica: a uuid v7, so that the row sorts by time like any other.
    pub fn id_in_minute(&self, minute: u64) -> Uuid {
        let (user, session) = (
            self.user.unwrap_or_default(),
            self.session.unwrap_or_default(),
        );
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        digest.update(user.as_bytes());
        digest.update(session.as_bytes());
        for word in [
            self.kind.as_str(),
            self.reason.as_deref().unwrap_or_default(),
            self.address.as_deref().unwrap_or_default(),
        ] {
            digest.update(word.as_bytes());
            // No word holds a zero.
            digest.update(&[0]);
        }
        let digest = digest.finish();
        let rest = digest.as_ref()[..10]
            .try_into()
            .expect("32 bytes are more than ten");
        uuid::Builder::from_unix_timestamp_millis(minute, rest).into_uuid()
    }
}

/// The minute that a moment belongs to, both in ms since the epoch.
pub const fn minute(moment: u64) -> u64 {
    moment - moment % 60_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(user: Option<u128>, address: &str) -> AuditEvent {
        AuditEvent::new(
            EventKind::SignInFailed,
            Actor::Unauthenticated,
            user.map(Uuid::from_u128),
        )
        .from(address, None)
    }

    #[test]
    fn words_are_unique() {
        let mut words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), EventKind::ALL.len());
    }

    #[test]
    fn no_text_from_outside_can_forge_a_line() {
        let event = AuditEvent::new(EventKind::SignIn, Actor::Unauthenticated, None)
            .from("::1", Some("a\r\nb\u{1b}[31m\u{202e}c"));
        assert_eq!(
            event.agent.as_deref(),
            Some("a\\u{d}\\u{a}b\\u{1b}[31m\\u{202e}c")
        );
    }

    proptest! {
        #[test]
        fn the_row_of_a_minute_is_the_same_everywhere_and_no_other(
            one in proptest::option::of(0u128..3), other in proptest::option::of(1u128..3),
            here in "[ab]", there in "[ab]", first in 0u64..200_000, second in 0u64..200_000,
        ) {
            let (a, b) = (refused(one, &here), refused(other, &there));
            let same = a.user.unwrap_or_default() == b.user.unwrap_or_default() && here == there
                && first / 60_000 == second / 60_000;
            prop_assert_eq!(a.id_in_minute(minute(first)) == b.id_in_minute(minute(second)), same);
        }

        #[test]
        fn the_row_of_a_minute_sorts_by_its_time(minute in 0u64..1 << 46) {
            let id = refused(None, "192.0.2.1").id_in_minute(minute);
            prop_assert_eq!(id.get_version_num(), 7);
            let milliseconds = id.as_bytes()[..6]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            prop_assert_eq!(milliseconds, minute);
        }
    }
}
