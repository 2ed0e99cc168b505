//! The keys of a session and its user in Redis, under `{user_id}`, and their scripts.
//!
//! Each script is one step that follows the `.lua` file or function that its comment names.

use super::FIRST_GENERATION;

/// The keys of one session and of its user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CachedSession {
    /// Whether the session's key has all fields that a rotation needs.
    has_session: bool,
    /// Whether the session was stored under the current replication history.
    history_matches: bool,
    has_tombstone: bool,
    user_generation: i64,
    /// Whether the user's key has the identity, which a rotation needs.
    has_identity: bool,
}

/// Result of `rotate.lua` or `restore_session.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rotation {
    Rotated,
    Rejected,
    /// The session must be restored from PostgreSQL first.
    NotCached,
}

impl CachedSession {
    /// `create_session.lua`.
    pub fn after_sign_in() -> CachedSession {
        CachedSession {
            has_session: true,
            history_matches: true,
            has_tombstone: false,
            user_generation: FIRST_GENERATION,
            has_identity: true,
        }
    }

    /// The data of the sign-in under another replication history. All later changes are lost.
    pub fn after_failover() -> CachedSession {
        CachedSession {
            history_matches: false,
            ..CachedSession::after_sign_in()
        }
    }

    /// `load_session`: whether a rotation can use the keys.
    fn is_current(&self) -> bool {
        self.has_session && self.history_matches && self.has_identity
    }

    /// `exchange`: rejects a session of a smaller generation. The token is always the current one.
    fn exchange(&self) -> Rotation {
        if FIRST_GENERATION < self.user_generation {
            Rotation::Rejected
        } else {
            Rotation::Rotated
        }
    }

    /// `rotate.lua`.
    pub fn rotate(&self) -> Rotation {
        match (self.has_tombstone, self.is_current()) {
            (true, _) => Rotation::Rejected,
            (false, false) => Rotation::NotCached,
            (false, true) => self.exchange(),
        }
    }

    /// Whether a refresh token can rotate without a restore from PostgreSQL.
    pub fn can_rotate(&self) -> bool {
        self.rotate() == Rotation::Rotated
    }

    /// `restore_session.lua`: ignores the values from PostgreSQL if the session is current again.
    ///
    /// Another replica might have restored the session meanwhile.
    pub fn restore(&mut self) -> Rotation {
        if self.has_tombstone {
            return Rotation::Rejected;
        }
        if !self.is_current() {
            *self = CachedSession {
                user_generation: self.user_generation.max(FIRST_GENERATION),
                ..CachedSession::after_sign_in()
            };
        }
        self.exchange()
    }

    /// `revoke_sessions.lua`: writes the tombstone, even if the session is not cached.
    pub fn revoke_session(&mut self) {
        self.has_tombstone = true;
    }

    /// `store_generation.lua`.
    pub fn store_generation(&mut self, generation: i64) {
        self.user_generation = self.user_generation.max(generation);
    }
}
