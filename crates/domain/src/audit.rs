//! Audit events: a closed list of kinds, with actor, user, origin, and outcome.
//!
//! An event never contains a credential or a submitted username, because users type passwords into
//! the wrong field.

use std::borrow::Cow;

use strum::IntoStaticStr;
use uuid::Uuid;

use crate::{access_token::Kid, group::GroupName, text};

/// Declares [`EventKind`]: variant, stored value, outcome, and log message.
macro_rules! kinds {
    ($($variant:ident $name:literal $outcome:ident $message:literal;)*) => {
        /// The kind of an audit event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $(#[doc = $message] $variant,)* }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[EventKind] = &[$(EventKind::$variant,)*];

            /// Returns the value that PostgreSQL, the API, and the logs contain.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventKind::$variant => $name,)* }
            }

            /// Returns the kind with this value, or `None` if there is none.
            pub fn parse(name: &str) -> Option<EventKind> {
                EventKind::ALL.iter().copied().find(|kind| kind.as_str() == name)
            }

            /// Returns the outcome of all events of this kind.
            pub const fn outcome(self) -> Outcome {
                match self { $(EventKind::$variant => Outcome::$outcome,)* }
            }

            /// Returns the log message.
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
    GroupsChanged "groups_changed" Success "groups changed";
    UserExported "user_exported" Success "user data exported";
    NameReleased "name_released" Success "reservation of a username or email address ended";
    UserDeleted "user_deleted" Success "user deleted";
    TokenRevoked "token_revoked" Success "access token revoked";
    PersonalAccessTokenCreated "personal_access_token_created" Success "personal access token created";
    PersonalAccessTokenRevoked "personal_access_token_revoked" Success "personal access token revoked";
    ClientAuthenticationFailed "client_authentication_failed" Failure "client authentication failed";
    GroupCreated "group_created" Success "group created";
    GroupUpdated "group_updated" Success "group updated";
    GroupDeleted "group_deleted" Success "group deleted";
    ApplicationCreated "application_created" Success "application created";
    ApplicationUpdated "application_updated" Success "application updated";
    ApplicationDeleted "application_deleted" Success "application deleted";
    OAuthClientCreated "oauth_client_created" Success "OAuth client registered";
    ClientSecretRotated "client_secret_rotated" Success "client secret rotated";
    OAuthClientUpdated "oauth_client_updated" Success "OAuth client updated";
    OAuthClientDeleted "oauth_client_deleted" Success "OAuth client deleted";
    SigningKeyCreated "signing_key_rotated" Success "signing key created";
    SigningKeyRevoked "signing_key_revoked" Success "signing key revoked";
    RateLimited "rate_limited" Failure "rate limit exceeded";
}

/// The outcome of an audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// The action was performed.
    Success,
    /// The action was rejected.
    Failure,
}

impl Outcome {
    /// Returns the value that PostgreSQL, the API, and the logs contain.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The actor of an audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Actor {
    /// The affected user, authenticated by a session, a token, or a one-time code.
    User(Uuid),
    /// An administrator.
    Admin(Uuid),
    /// An OAuth client that acts for itself.
    Client(Uuid),
    /// The operator, on the command line.
    Operator,
    /// The server itself.
    Server,
    /// An unauthenticated caller.
    Unauthenticated,
}

impl Actor {
    /// Returns the kind of actor, as PostgreSQL, the API, and the logs contain it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether the affected user can see the ID and IP address of this kind of actor.
    ///
    /// These details of administrators, the operator, and OAuth clients are hidden. `kind` is the
    /// stored value.
    pub fn is_visible_to_user(kind: &str) -> bool {
        [
            Actor::User(Uuid::nil()),
            Actor::Server,
            Actor::Unauthenticated,
        ]
        .iter()
        .any(|actor| actor.as_str() == kind)
    }

    /// Returns the ID of the user or OAuth client that acted.
    pub const fn id(self) -> Option<Uuid> {
        match self {
            Actor::User(id) | Actor::Admin(id) | Actor::Client(id) => Some(id),
            Actor::Operator | Actor::Server | Actor::Unauthenticated => None,
        }
    }
}

/// An audit event. The time is added when the event is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuditEvent {
    /// The kind of the event.
    pub kind: EventKind,
    /// The actor.
    pub actor: Actor,
    /// The ID of the affected user or OAuth client.
    pub subject_id: Option<Uuid>,
    /// The affected session, or the session of the actor.
    pub session_id: Option<Uuid>,
    /// The IP address or the network of the client.
    pub address: Option<String>,
    /// The `User-Agent` header of the client.
    pub agent: Option<String>,
    /// The reason (a constant), the ID of the signing key, or the name of the group.
    pub reason: Option<Cow<'static, str>>,
}

impl AuditEvent {
    /// Creates an event without details.
    pub fn new(kind: EventKind, actor: Actor, subject_id: Option<Uuid>) -> AuditEvent {
        AuditEvent {
            kind,
            actor,
            subject_id,
            session_id: None,
            address: None,
            agent: None,
            reason: None,
        }
    }

    /// Sets the session.
    pub fn of_session(self, session_id: Uuid) -> AuditEvent {
        AuditEvent {
            session_id: Some(session_id),
            ..self
        }
    }

    /// Sets the reason.
    pub fn with_reason(self, reason: &'static str) -> AuditEvent {
        AuditEvent {
            reason: Some(reason.into()),
            ..self
        }
    }

    /// Sets the ID of the affected signing key as the reason.
    pub fn of_key(self, kid: Kid) -> AuditEvent {
        AuditEvent {
            reason: Some(kid.to_string().into()),
            ..self
        }
    }

    /// Sets the name of the affected group as the reason.
    pub fn of_group(self, name: &GroupName) -> AuditEvent {
        AuditEvent {
            reason: Some(name.as_str().to_owned().into()),
            ..self
        }
    }

    /// Sets the address and the user agent, escaped so that they cannot inject log lines.
    pub fn from(self, address: &str, agent: Option<&str>) -> AuditEvent {
        AuditEvent {
            address: Some(text::escaped(address)),
            agent: agent.map(text::escaped),
            ..self
        }
    }

    /// Returns the ID of the row that counts equal events within one minute, on all replicas.
    ///
    /// It is a UUIDv7, so that the row sorts by time. `minute` is in ms since the Unix epoch.
    pub fn id_in_minute(&self, minute: u64) -> Uuid {
        let (subject_id, session_id) = (
            self.subject_id.unwrap_or_default(),
            self.session_id.unwrap_or_default(),
        );
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        digest.update(subject_id.as_bytes());
        digest.update(session_id.as_bytes());
        for value in [
            self.kind.as_str(),
            self.reason.as_deref().unwrap_or_default(),
            self.address.as_deref().unwrap_or_default(),
        ] {
            digest.update(value.as_bytes());
            // The separator is unambiguous, because no value contains a zero byte.
            digest.update(&[0]);
        }
        let digest = digest.finish();
        let hash_bytes = digest.as_ref()[..10]
            .try_into()
            .expect("a digest of 32 bytes");
        uuid::Builder::from_unix_timestamp_millis(minute, hash_bytes).into_uuid()
    }
}

/// Returns the start of the minute that contains `moment`. Both are in ms since the Unix epoch.
pub const fn minute(moment: u64) -> u64 {
    moment - moment % 60_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed_sign_in(user: Option<u128>, address: &str) -> AuditEvent {
        AuditEvent::new(
            EventKind::SignInFailed,
            Actor::Unauthenticated,
            user.map(Uuid::from_u128),
        )
        .from(address, None)
    }

    #[test]
    fn stored_event_kinds_are_unique() {
        let mut names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(EventKind::parse("signed_in"), None);
    }

    #[test]
    fn user_agent_with_control_characters_is_escaped() {
        let event = AuditEvent::new(EventKind::SignIn, Actor::Unauthenticated, None)
            .from("::1", Some("a\r\nb\u{1b}[31m\u{202e}c"));
        assert_eq!(
            event.agent.as_deref(),
            Some("a\\u{d}\\u{a}b\\u{1b}[31m\\u{202e}c")
        );
    }

    proptest! {
        #[test]
        fn id_in_minute_is_shared_by_equal_events_only(
            user in proptest::option::of(0u128..3), other_user in proptest::option::of(1u128..3),
            address in "[ab]", other_address in "[ab]",
            time in 0u64..200_000, other_time in 0u64..200_000,
        ) {
            let event = failed_sign_in(user, &address);
            let other = failed_sign_in(other_user, &other_address);
            let subject = |event: &AuditEvent| event.subject_id.unwrap_or_default();
            let is_same = subject(&event) == subject(&other)
                && address == other_address
                && time / 60_000 == other_time / 60_000;
            prop_assert_eq!(
                event.id_in_minute(minute(time)) == other.id_in_minute(minute(other_time)),
                is_same
            );
        }

        #[test]
        fn id_in_minute_sorts_by_time(minute in 0u64..1 << 46) {
            let id = failed_sign_in(None, "192.0.2.1").id_in_minute(minute);
            prop_assert_eq!(id.get_version_num(), 7);
            let milliseconds = id.as_bytes()[..6]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            prop_assert_eq!(milliseconds, minute);
        }
    }
}
