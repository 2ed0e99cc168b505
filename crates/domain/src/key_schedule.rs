//! The life of a signing key: next (published, not signing yet), current (signs), retiring
//! (verifies what it signed), expired. A revoked key signs and verifies nothing.
//!
//! Nothing is stored about where a key is in its life: it follows from the time at which each key
//! begins, so that replicas need not tell each other, and one that cannot read the record goes on
//! from one key to the next by itself. Times are milliseconds since the epoch.

use crate::{access_token::Kid, revocation::ENTRY_SECONDS};

/// How long a key verifies after it has signed last, and how long one that was taken back is kept
/// in mind: longer than any access token lives, whatever a setting says today, with room for clocks
/// that disagree.
const VERIFY_AFTER_RETIREMENT_MS: u64 = ENTRY_SECONDS * 1000;

/// What a key's life follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledKey {
    /// The key.
    pub kid: Kid,
    /// When it begins to sign.
    pub signs_from: u64,
    /// When it was taken back, if it was.
    pub revoked_at: Option<u64>,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It is published, and signs later.
    Next,
    /// It signs.
    Current,
    /// It has signed; it verifies until the last of its tokens is dead.
    Retiring,
    /// It was taken back, and its tokens are refused.
    Revoked,
    /// Nobody needs it any more.
    Expired,
}

/// How keys follow each other, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRotationPolicy {
    /// How long a key signs; 0: nobody is asked to make the next one.
    pub rotation: u64,
    /// How long others may keep what they have read of our keys.
    pub max_age: u64,
}

impl KeyState {
    /// Every state, in the order of a life.
    pub const ALL: [KeyState; 5] = [
        KeyState::Next,
        KeyState::Current,
        KeyState::Retiring,
        KeyState::Revoked,
        KeyState::Expired,
    ];

    /// The state as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Current => "current",
            KeyState::Retiring => "retiring",
            KeyState::Revoked => "revoked",
            KeyState::Expired => "expired",
        }
    }

    /// Whether tokens of such a key are accepted, and others may know it. A next one's are: who
    /// signs with it may only have a clock that is ahead of ours.
    pub const fn verifies(self) -> bool {
        match self {
            KeyState::Next | KeyState::Current | KeyState::Retiring => true,
            KeyState::Revoked | KeyState::Expired => false,
        }
    }
}

impl ScheduledKey {
    /// Whether it ever signs: not if it was taken back before its time.
    fn begins(&self) -> bool {
        self.revoked_at.is_none_or(|at| at > self.signs_from)
    }

    /// Of two, the one that is later takes over from the other.
    fn order(&self) -> (u64, Kid) {
        (self.signs_from, self.kid)
    }
}

impl KeyRotationPolicy {
    /// How long before it signs a key is published, in milliseconds: what others have read before
    /// is out of date by then, with as much again for replicas that look at the record a little
    /// later.
    pub fn lead(&self) -> u64 {
        self.max_age * 2
    }

    /// In how many milliseconds a further key shall sign, if it is time to make one.
    pub fn due(&self, keys: &[ScheduledKey], now: u64) -> Option<u64> {
        let signs_until = signer(keys, now)?.signs_from + self.rotation;
        let is_due =
            self.rotation > 0 && waiting(keys, now).is_none() && signs_until <= now + self.lead();
        is_due.then(|| self.lead().max(signs_until.saturating_sub(now)))
    }
}

/// The key that signs: the last that has begun. Where that was taken back the next one signs,
/// without waiting for its time; never one that has been followed by another, because nobody
/// verifies it long enough.
pub fn signer(keys: &[ScheduledKey], now: u64) -> Option<&ScheduledKey> {
    let begun = keys
        .iter()
        .filter(|key| key.begins() && key.signs_from <= now)
        .max_by_key(|key| key.order());
    match begun {
        Some(key) if key.revoked_at.is_none() => Some(key),
        _nothing_good => waiting(keys, now),
    }
}

/// The key that is published and waits for its time, if there is one.
pub fn waiting(keys: &[ScheduledKey], now: u64) -> Option<&ScheduledKey> {
    keys.iter()
        .filter(|key| key.revoked_at.is_none() && key.signs_from > now)
        .min_by_key(|key| key.order())
}

/// Until when a key matters, if that is known: until its last token is dead.
pub fn ends_at(keys: &[ScheduledKey], key: &ScheduledKey) -> Option<u64> {
    let follows = |other: &&ScheduledKey| other.begins() && other.order() > key.order();
    let followed_at = || {
        keys.iter()
            .filter(follows)
            .map(|other| other.signs_from)
            .min()
    };
    key.revoked_at
        .or_else(followed_at)
        .map(|at| at + VERIFY_AFTER_RETIREMENT_MS)
}

/// Where a key is in its life.
pub fn state(keys: &[ScheduledKey], key: &ScheduledKey, now: u64) -> KeyState {
    let signs = signer(keys, now).is_some_and(|signer| signer.kid == key.kid);
    match ends_at(keys, key) {
        Some(end) if end <= now => KeyState::Expired,
        _lives if key.revoked_at.is_some() => KeyState::Revoked,
        _lives if signs => KeyState::Current,
        _lives if key.signs_from > now => KeyState::Next,
        _lives => KeyState::Retiring,
    }
}

#[cfg(test)]
#[path = "key_schedule_tests.rs"]
mod tests;
