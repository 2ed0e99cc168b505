//! The schedule of signing keys.
//!
//! A key is first next (published, does not sign yet), then current (signs), retiring (only
//! verifies), and expired. A revoked key neither signs nor verifies.
//!
//! The state of a key is not stored. It follows from the times at which the keys start to sign.
//! Replicas therefore need no coordination, and change keys on time even while PostgreSQL is
//! unavailable. Times are milliseconds since the Unix epoch. [`worker`] decides when a replica
//! reloads the keys and creates the next one.

pub mod worker;

use strum::{IntoStaticStr, VariantArray};

use crate::{access_token::Kid, revocation::ENTRY_SECONDS};

/// How long a key is kept after its last signature or its revocation.
///
/// It is longer than any setting for the lifetime of access tokens, with a margin for clock
/// differences.
const VERIFY_AFTER_RETIREMENT_MS: u64 = ENTRY_SECONDS * 1000;

/// The data from which the state of a key follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledKey {
    /// The ID of the key.
    pub kid: Kid,
    /// The time from which the key signs.
    pub signs_from: u64,
    /// The time of its revocation, if the key was revoked.
    pub revoked_at: Option<u64>,
}

/// The state of a signing key.
///
/// The variants are in the order of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum KeyState {
    /// The key is published and signs later.
    Next,
    /// The key signs.
    Current,
    /// The key only verifies, until the last of its tokens has expired.
    Retiring,
    /// The key was revoked, and its tokens are rejected.
    Revoked,
    /// The key is no longer needed and can be deleted.
    Expired,
}

/// The intervals of key rotation, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRotationPolicy {
    /// The time for which a key signs. With 0, keys are not rotated automatically.
    pub rotation: u64,
    /// The time for which clients can cache the JSON Web Key Set.
    pub max_age: u64,
}

impl KeyState {
    /// Returns the value that the command line and the metrics contain.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether tokens of the key are accepted, and the JSON Web Key Set contains the key.
    ///
    /// Tokens of the next key are accepted, because the clock of another replica can be ahead.
    pub const fn verifies(self) -> bool {
        match self {
            KeyState::Next | KeyState::Current | KeyState::Retiring => true,
            KeyState::Revoked | KeyState::Expired => false,
        }
    }

    /// Returns whether the key signs now or later, so that each replica needs its private key.
    pub const fn needs_private_key(self) -> bool {
        match self {
            KeyState::Next | KeyState::Current => true,
            KeyState::Retiring | KeyState::Revoked | KeyState::Expired => false,
        }
    }
}

impl ScheduledKey {
    /// Returns whether the key ever signs. A key that is revoked before its start never does.
    fn ever_signs(&self) -> bool {
        self.revoked_at.is_none_or(|at| at > self.signs_from)
    }

    /// Returns the sort key of the schedule. Each key replaces the one before it.
    fn sort_key(&self) -> (u64, Kid) {
        (self.signs_from, self.kid)
    }
}

impl KeyRotationPolicy {
    /// Returns how long a key is published before it signs, in milliseconds.
    ///
    /// Clients have then replaced their cached key set. The doubled interval allows for replicas
    /// that read the key from PostgreSQL with a delay.
    pub fn lead(&self) -> u64 {
        self.max_age * 2
    }

    /// Returns the time in milliseconds until a new key must sign, if one must be generated now.
    ///
    /// Returns `None` if rotation is disabled, a next key already exists, or the rotation is not
    /// due.
    pub fn due(&self, keys: &[ScheduledKey], now: u64) -> Option<u64> {
        let signs_until = find_signer(keys, now)?.signs_from + self.rotation;
        let is_due = self.rotation > 0
            && find_next_key(keys, now).is_none()
            && signs_until <= now + self.lead();
        is_due.then(|| self.lead().max(signs_until.saturating_sub(now)))
    }

    /// Returns the time in milliseconds until a key signs that the operator requests now.
    ///
    /// Returns `None` if a next key already exists.
    pub fn delay_on_request(&self, keys: &[ScheduledKey], now: u64) -> Option<u64> {
        find_next_key(keys, now).is_none().then(|| self.lead())
    }
}

/// The changes that revoke a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRevocation {
    /// No key has this ID.
    UnknownKey,
    /// The key is already revoked, so no key changes.
    AlreadyRevoked,
    /// The key is revoked, and the successor signs.
    Revoke(KeySuccessor),
}

/// The key that signs after a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySuccessor {
    /// The current key still signs, because another key is revoked.
    Unchanged,
    /// This next key signs immediately.
    NextKey(Kid),
    /// No next key exists, so a new key is created and signs immediately.
    NewKey,
}

/// Decides how to revoke a key at `now`.
pub fn decide_revocation(keys: &[ScheduledKey], kid: Kid, now: u64) -> KeyRevocation {
    let Some(key) = keys.iter().find(|key| key.kid == kid) else {
        return KeyRevocation::UnknownKey;
    };
    if key.revoked_at.is_some() {
        return KeyRevocation::AlreadyRevoked;
    }
    if find_signer(keys, now).is_none_or(|signer| signer.kid != kid) {
        return KeyRevocation::Revoke(KeySuccessor::Unchanged);
    }
    let others: Vec<ScheduledKey> = keys
        .iter()
        .filter(|other| other.kid != kid)
        .copied()
        .collect();
    let next = find_next_key(&others, now);
    KeyRevocation::Revoke(next.map_or(KeySuccessor::NewKey, |next| KeySuccessor::NextKey(next.kid)))
}

/// Returns the key that signs at `now`: the last one whose start has passed.
///
/// If that key is revoked, the next key signs before its start. An earlier key never signs again,
/// because it would expire before its new tokens. Returns `None` if no key can sign.
pub fn find_signer(keys: &[ScheduledKey], now: u64) -> Option<&ScheduledKey> {
    let last_started = keys
        .iter()
        .filter(|key| key.ever_signs() && key.signs_from <= now)
        .max_by_key(|key| key.sort_key());
    match last_started {
        Some(key) if key.revoked_at.is_none() => Some(key),
        _unusable => find_next_key(keys, now),
    }
}

/// Returns the key that is published and signs next, if there is one.
fn find_next_key(keys: &[ScheduledKey], now: u64) -> Option<&ScheduledKey> {
    keys.iter()
        .filter(|key| key.revoked_at.is_none() && key.signs_from > now)
        .min_by_key(|key| key.sort_key())
}

/// Returns the time at which a key expires, which is after the expiry of its last token.
///
/// Returns `None` if the key is neither revoked nor replaced.
fn find_end(keys: &[ScheduledKey], key: &ScheduledKey) -> Option<u64> {
    let is_successor =
        |other: &&ScheduledKey| other.ever_signs() && other.sort_key() > key.sort_key();
    let replaced_at = || {
        keys.iter()
            .filter(is_successor)
            .map(|other| other.signs_from)
            .min()
    };
    key.revoked_at
        .or_else(replaced_at)
        .map(|at| at + VERIFY_AFTER_RETIREMENT_MS)
}

/// Returns the time at which the state of a key ends, if it is scheduled.
///
/// The current key signs until the next key takes over. Any other key is kept until its last token
/// has expired.
pub fn find_state_end(keys: &[ScheduledKey], key: &ScheduledKey, now: u64) -> Option<u64> {
    match state(keys, key, now) {
        KeyState::Current => find_next_key(keys, now).map(|next| next.signs_from),
        KeyState::Next => None,
        KeyState::Retiring | KeyState::Revoked | KeyState::Expired => find_end(keys, key),
    }
}

/// Returns the state of a key at `now`.
pub fn state(keys: &[ScheduledKey], key: &ScheduledKey, now: u64) -> KeyState {
    let is_signer = find_signer(keys, now).is_some_and(|signer| signer.kid == key.kid);
    match find_end(keys, key) {
        Some(expiry) if expiry <= now => KeyState::Expired,
        _not_expired if key.revoked_at.is_some() => KeyState::Revoked,
        _not_expired if is_signer => KeyState::Current,
        _not_expired if key.signs_from > now => KeyState::Next,
        _not_expired => KeyState::Retiring,
    }
}

#[cfg(test)]
#[path = "key_schedule_tests.rs"]
mod tests;
