//! The state of a token in PostgreSQL and Redis.

use time::OffsetDateTime;

use crate::revocation::{RevocationReason, Subject};

/// The time and the reason of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationRecord {
    /// The time of the revocation.
    pub at: OffsetDateTime,
    /// The reason, or `None` if this version does not support the stored value.
    pub reason: Option<RevocationReason>,
}

/// The state of the user in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEvidence {
    /// The generation. Tokens with a lower generation are rejected.
    pub generation: i64,
    /// Whether the user is disabled.
    pub disabled: bool,
}

/// The state of the session in PostgreSQL. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEvidence {
    /// The generation of the user at sign-in.
    pub generation: i64,
    /// The rotation counter. PostgreSQL receives it with a delay of at most one second.
    pub counter: u64,
    /// The time of the last refresh.
    pub refreshed_at: u64,
    /// The expiry of the session, which no refresh extends.
    pub expires_at: u64,
    /// The revocation, if the session was revoked.
    pub revocation: Option<RevocationRecord>,
}

/// The state of a token in PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The user, or `None` if the user was deleted.
    pub user: Option<UserEvidence>,
    /// The session, or `None` if PostgreSQL does not contain it.
    pub session: Option<SessionEvidence>,
    /// The generation of the OAuth client, or `None` if the client was deleted.
    pub client: Option<i64>,
    /// The time when the user was deleted or disabled, if the audit log contains it.
    pub closed_at: Option<OffsetDateTime>,
    /// The last revocation of all tokens of the user or OAuth client, if it is still stored.
    pub everything: Option<RevocationRecord>,
    /// The revocation of this token.
    pub token: Option<RevocationRecord>,
    /// The revocation of the key that signed the token.
    pub key: Option<RevocationRecord>,
}

/// The state of a session in Redis. Times are ms since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedSession {
    /// Whether the replication history matches. Otherwise the session is restored from PostgreSQL
    /// before its next refresh.
    pub history_matches: bool,
    /// The rotation counter.
    pub counter: u64,
    /// The time of the last rotation.
    pub rotated_at: u64,
    /// The generation of the session, and the generation of its user.
    pub generations: (i64, i64),
    /// The stored reason of the tombstone, if the session was revoked.
    pub revoked_reason: Option<String>,
    /// The scopes of the session, separated by spaces.
    pub scope: Option<String>,
}

/// The state of a token in the revocation log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenylistState {
    /// The log contains no revocation of the token.
    NotListed,
    /// The log contains a revocation with this subject.
    Listed(Subject),
    /// Redis has lost the log.
    LogLost,
    /// Redis does not respond.
    Unreachable,
}

/// The result of a query to Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheReading<T> {
    /// The value that Redis returned.
    Read(T),
    /// Redis does not respond.
    Unreachable,
}
