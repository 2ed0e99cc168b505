//! What the stores know of a token.

use time::OffsetDateTime;

use crate::revocation::{Reason, Subject};

/// Something that was taken back, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationRecord {
    /// When.
    pub at: OffsetDateTime,
    /// Why, where this version knows the word that is stored.
    pub reason: Option<Reason>,
}

/// What the record knows of a token's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEvidence {
    /// Tokens with a smaller generation are refused.
    pub generation: i64,
    /// Whether it is disabled.
    pub disabled: bool,
}

/// What the record knows of a token's session. Times are seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEvidence {
    /// The generation at the sign-in.
    pub generation: i64,
    /// How often it was refreshed, at most a second late.
    pub counter: u64,
    /// When it was last refreshed.
    pub refreshed_at: u64,
    /// The absolute end.
    pub ends_at: u64,
    /// Its end, if it has ended.
    pub ended: Option<RevocationRecord>,
}

/// All that the record knows of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The account; nothing where it is gone.
    pub account: Option<UserEvidence>,
    /// The session; nothing where it is gone.
    pub session: Option<SessionEvidence>,
    /// The generation of the client, of a token that it has for itself; nothing where it is gone.
    pub client: Option<i64>,
    /// When the account was deleted or disabled, where that is remembered.
    pub closed_at: Option<OffsetDateTime>,
    /// What last ended everything of the account, where that is remembered.
    pub everything: Option<RevocationRecord>,
    /// The end of this very token.
    pub token: Option<RevocationRecord>,
    /// The end of its key, if that was taken back.
    pub key: Option<RevocationRecord>,
}

/// What Redis knows of a session. Times are ms since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedSession {
    /// Whether it may be relied on: what is not at home is read from the record again.
    pub at_home: bool,
    /// The current counter.
    pub counter: u64,
    /// When it was reached.
    pub rotated_at: u64,
    /// The generation of the session, and that of its account.
    pub generations: (i64, i64),
    /// The word of its tombstone.
    pub ended: Option<String>,
    /// What its tokens may be used for.
    pub scope: Option<String>,
}

/// What the denylist in Redis says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenylistState {
    /// Nothing.
    NotListed,
    /// The entry of this subject refuses it.
    Listed(Subject),
    /// It was lost.
    LogLost,
    /// Redis does not answer.
    Unreachable,
}

/// What Redis says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheReading<T> {
    /// This.
    Read(T),
    /// Nothing: it does not answer.
    Unreachable,
}
