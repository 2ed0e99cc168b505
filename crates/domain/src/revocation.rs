//! Revocations, their entries in the revocation log, and the keys by which a token can be revoked.
//!
//! [`lease`] decides when a replica can serve a check from memory, and when all replicas enforce a
//! revocation. [`lease_renewer`] decides what the lease worker does next.

mod entry;
pub mod identity;
pub mod lease;
pub mod lease_renewer;
pub mod leased_set;
mod reason;
pub mod recent_entries;
pub mod unpublished;

use uuid::Uuid;

pub use crate::revocation::entry::{Entry, EntryState, Subject, UnknownEntry};
pub use crate::revocation::reason::RevocationReason;

use crate::access_token::Kid;

/// Imports of [`leased_set`]. Its model compiles the same file with the types of `loom` instead.
mod sync {
    pub use std::sync::atomic::{AtomicU64, Ordering};

    pub use super::lease::{BootTime, is_lease_valid};
}

/// Lifetime of all entries except those of single access tokens, in seconds.
///
/// It exceeds the maximum lifetime of an access token, which is one hour. It is a constant, because
/// a lower token lifetime in the settings must not shorten entries for tokens issued before.
pub const ENTRY_SECONDS: u64 = 65 * 60;

/// Time between the `exp` claim of an access token and the expiry of its entry, in seconds.
///
/// Wall clocks can differ by up to two minutes.
pub const TOKEN_MARGIN_SECONDS: u64 = 5 * 60;

/// Maximum time for which a replica caches a personal access token, in seconds.
pub const PERSONAL_ACCESS_TOKEN_SECONDS: u64 = 10 * 60;

/// A revocation of one token or of a group of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// All tokens of a session.
    Session {
        /// ID of the session.
        session_id: Uuid,
    },
    /// All tokens of a user with a smaller generation.
    User {
        /// ID of the user.
        user_id: Uuid,
        /// Smallest generation that is still valid.
        below: i64,
    },
    /// All tokens of an OAuth client with a smaller generation.
    Client {
        /// ID of the client.
        id: Uuid,
        /// Smallest generation that is still valid.
        below: i64,
    },
    /// One access token.
    Token {
        /// The `jti` claim of the token.
        jti: Uuid,
        /// The `exp` claim of the token, in seconds since the Unix epoch.
        exp: u64,
    },
    /// One personal access token.
    ///
    /// The entry can expire before the token. By then, no replica has a cached copy from before the
    /// revocation, because copies expire after [`PERSONAL_ACCESS_TOKEN_SECONDS`].
    PersonalAccessToken {
        /// ID of the token.
        id: Uuid,
    },
    /// All tokens signed with a key.
    Key {
        /// ID of the signing key.
        kid: Kid,
    },
}

impl Revocation {
    /// Returns the subject of the entry.
    pub const fn subject(&self) -> Subject {
        match *self {
            Revocation::Session { session_id } => Subject::Session(session_id),
            Revocation::User { user_id, .. } => Subject::User(user_id),
            Revocation::Client { id, .. } => Subject::Client(id),
            Revocation::Token { jti: id, .. } | Revocation::PersonalAccessToken { id } => {
                Subject::Token(id)
            }
            Revocation::Key { kid } => Subject::Key(kid),
        }
    }

    /// Returns the lifetime of an entry that is published at `now`, both in seconds.
    pub fn lifetime(&self, now: u64) -> u64 {
        match self {
            Revocation::Token { exp, .. } => exp.saturating_sub(now) + TOKEN_MARGIN_SECONDS,
            Revocation::Session { .. }
            | Revocation::User { .. }
            | Revocation::Client { .. }
            | Revocation::PersonalAccessToken { .. }
            | Revocation::Key { .. } => ENTRY_SECONDS,
        }
    }

    /// Returns the entry to publish at `now`, in seconds since the Unix epoch.
    pub fn entry(&self, now: u64) -> Entry {
        let expires_at = now + self.lifetime(now);
        let value = match *self {
            Revocation::User { below, .. } | Revocation::Client { below, .. } => below,
            Revocation::Session { .. }
            | Revocation::Token { .. }
            | Revocation::PersonalAccessToken { .. }
            | Revocation::Key { .. } => EntryState::FLAG,
        };
        Entry {
            subject: self.subject(),
            state: EntryState { value, expires_at },
        }
    }
}

/// Revocations of one database transaction.
///
/// The server commits them to PostgreSQL, then publishes them to Redis. Reuse of a refresh token is
/// the exception: its revocation is published first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationBatch {
    /// ID of the user whose credentials are revoked; `None` for an OAuth client or a signing key.
    pub user_id: Option<Uuid>,
    /// Reason for the revocations.
    pub reason: RevocationReason,
    /// Revocations in the batch.
    pub revocations: Vec<Revocation>,
}

impl RevocationBatch {
    /// Creates a batch that revokes individual sessions of a user.
    pub fn of_sessions(
        user_id: Uuid,
        session_ids: &[Uuid],
        reason: RevocationReason,
    ) -> RevocationBatch {
        let revocations = session_ids
            .iter()
            .map(|session_id| Revocation::Session {
                session_id: *session_id,
            })
            .collect();
        RevocationBatch {
            user_id: Some(user_id),
            reason,
            revocations,
        }
    }

    /// Creates a batch that revokes all tokens of a user with a generation smaller than `below`.
    pub fn of_user(user_id: Uuid, below: i64, reason: RevocationReason) -> RevocationBatch {
        RevocationBatch {
            user_id: Some(user_id),
            reason,
            revocations: vec![Revocation::User { user_id, below }],
        }
    }

    /// Creates a batch that revokes all tokens of a client with a generation smaller than `below`.
    pub fn of_client(id: Uuid, below: i64, reason: RevocationReason) -> RevocationBatch {
        RevocationBatch {
            user_id: None,
            reason,
            revocations: vec![Revocation::Client { id, below }],
        }
    }

    /// Creates a batch that revokes one personal access token.
    pub fn of_personal_access_token(
        user_id: Uuid,
        id: Uuid,
        reason: RevocationReason,
    ) -> RevocationBatch {
        RevocationBatch {
            user_id: Some(user_id),
            reason,
            revocations: vec![Revocation::PersonalAccessToken { id }],
        }
    }

    /// Creates a batch that revokes one access token.
    pub fn of_token(
        user_id: Option<Uuid>,
        jti: Uuid,
        exp: u64,
        reason: RevocationReason,
    ) -> RevocationBatch {
        RevocationBatch {
            user_id,
            reason,
            revocations: vec![Revocation::Token { jti, exp }],
        }
    }

    /// Creates a batch that revokes all tokens signed with a key.
    pub fn of_key(kid: Kid, reason: RevocationReason) -> RevocationBatch {
        RevocationBatch {
            user_id: None,
            reason,
            revocations: vec![Revocation::Key { kid }],
        }
    }

    /// Returns the IDs of the revoked sessions.
    pub fn session_ids(&self) -> Vec<Uuid> {
        let session_id = |revocation: &Revocation| {
            if let Revocation::Session { session_id } = revocation {
                Some(*session_id)
            } else {
                None
            }
        };
        self.revocations.iter().filter_map(session_id).collect()
    }

    /// Returns the smallest valid generation of the user, if the batch revokes smaller ones.
    pub fn below(&self) -> Option<i64> {
        let user_generation = |revocation: &Revocation| {
            if let Revocation::User { below, .. } = revocation {
                Some(*below)
            } else {
                None
            }
        };
        self.revocations.iter().find_map(user_generation)
    }
}

/// Revocation keys: the keys by which a token can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationKeys {
    /// Keys of an access token that belongs to a session.
    Session {
        /// ID of the signing key.
        kid: Kid,
        /// ID of the user.
        user_id: Uuid,
        /// ID of the session.
        session_id: Uuid,
        /// ID of the token.
        jti: Uuid,
        /// Generation of the user at the sign-in.
        generation: i64,
    },
    /// Keys of an access token that belongs to an OAuth client.
    Client {
        /// ID of the signing key.
        kid: Kid,
        /// ID of the client.
        id: Uuid,
        /// ID of the token.
        jti: Uuid,
        /// Generation of the client when the token was issued.
        generation: i64,
    },
    /// Keys of a personal access token.
    ///
    /// The token depends neither on a session nor on a signing key. Incrementing the generation of
    /// its user revokes it.
    PersonalAccessToken {
        /// ID of the token.
        id: Uuid,
        /// ID of the user.
        user_id: Uuid,
        /// Generation of the user when the token was created.
        generation: i64,
    },
}

impl RevocationKeys {
    /// Returns the subjects whose revocations can revoke the token.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let subjects = match *self {
            RevocationKeys::Session {
                kid,
                user_id,
                session_id,
                jti,
                ..
            } => [
                Some(Subject::Key(kid)),
                Some(Subject::User(user_id)),
                Some(Subject::Session(session_id)),
                Some(Subject::Token(jti)),
            ],
            RevocationKeys::Client { kid, id, jti, .. } => [
                Some(Subject::Key(kid)),
                Some(Subject::Client(id)),
                None,
                Some(Subject::Token(jti)),
            ],
            RevocationKeys::PersonalAccessToken { id, user_id, .. } => [
                None,
                Some(Subject::User(user_id)),
                None,
                Some(Subject::Token(id)),
            ],
        };
        subjects.into_iter().flatten()
    }

    /// Returns the first subject whose entry revokes the token; `None` if the token is not revoked.
    ///
    /// `entry_value` returns the value of a subject's entry. Timestamps never decide, because the
    /// clocks of the replicas differ.
    pub fn find_revoked_subject(
        &self,
        mut entry_value: impl FnMut(&Subject) -> Option<i64>,
    ) -> Option<Subject> {
        self.subjects().find(|subject| {
            entry_value(subject).is_some_and(|value| self.is_revoked_by(subject, value))
        })
    }

    /// Whether an entry with one of these subjects and this value revokes the token.
    fn is_revoked_by(&self, subject: &Subject, value: i64) -> bool {
        match subject {
            Subject::User(_) | Subject::Client(_) => self.generation() < value,
            Subject::Session(_) | Subject::Token(_) | Subject::Key(_) => true,
            Subject::Identity(_) | Subject::Probe(_) => false,
        }
    }

    /// Returns the ID of the token.
    pub const fn jti(&self) -> Uuid {
        match self {
            RevocationKeys::Session { jti, .. }
            | RevocationKeys::Client { jti, .. }
            | RevocationKeys::PersonalAccessToken { id: jti, .. } => *jti,
        }
    }

    /// Generation of the user or client when the token was issued.
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
        fn token_is_revoked_only_by_its_own_entries(
            is_key_revoked: bool,
            is_session_revoked: bool,
            is_token_revoked: bool,
            below in proptest::option::of(0i64..5),
            generation in 0i64..5,
        ) {
            let (user_id, session_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
            let (jti, client_id) = (Uuid::from_u128(3), Uuid::from_u128(4));
            let entry_value = |subject: &Subject| match subject {
                Subject::Key(_) => is_key_revoked.then_some(EntryState::FLAG),
                Subject::User(id) => below.filter(|_| *id == user_id),
                Subject::Client(id) => below.filter(|_| *id == client_id),
                Subject::Session(id) => {
                    (is_session_revoked && *id == session_id).then_some(EntryState::FLAG)
                }
                Subject::Token(id) => (is_token_revoked && *id == jti).then_some(EntryState::FLAG),
                Subject::Identity(_) | Subject::Probe(_) => Some(i64::MAX),
            };
            let is_generation_revoked = below > Some(generation);
            let keys = RevocationKeys::Session { kid: kid(), user_id, session_id, jti, generation };
            prop_assert_eq!(
                keys.find_revoked_subject(entry_value).is_some(),
                is_key_revoked || is_session_revoked || is_token_revoked || is_generation_revoked
            );
            let keys = RevocationKeys::Client { kid: kid(), id: client_id, jti, generation };
            prop_assert_eq!(
                keys.find_revoked_subject(entry_value).is_some(),
                is_key_revoked || is_token_revoked || is_generation_revoked
            );
            let keys = RevocationKeys::PersonalAccessToken { id: jti, user_id, generation };
            prop_assert_eq!(
                keys.find_revoked_subject(entry_value).is_some(),
                is_token_revoked || is_generation_revoked
            );
        }

        #[test]
        fn token_entry_outlives_token(exp in 0u64..1 << 40, now in 0u64..1 << 40) {
            let revocation = Revocation::Token { jti: Uuid::nil(), exp };
            prop_assert!(now + revocation.lifetime(now) > exp);
        }
    }

    #[test]
    fn personal_access_token_entry_outlives_cached_token() {
        assert!(
            Revocation::PersonalAccessToken { id: Uuid::nil() }.lifetime(0)
                > PERSONAL_ACCESS_TOKEN_SECONDS
        );
    }
}
