//! Notes: a page that succeeds redirects to the next page, which shows a sentence about the
//! success once (Post/Redirect/Get).
//!
//! A cookie carries the note. It is signed, because another host of the domain could set a cookie
//! with text of its choice, and it expires after a minute.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_domain::master_secret::MacKeys;
use serde::{Deserialize, Serialize};

/// The label of the keys that sign notes.
pub const KEY_LABEL: &str = "latchkey notes";

/// The lifetime of a note, in seconds.
pub const LIFETIME: u64 = 60;

/// A sentence that the next page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A reset code was sent if a user has this email address.
    ResetCodeSent(String),
    /// The password was reset.
    PasswordReset,
    /// The first password was set.
    PasswordSet,
    /// A sign-up code was sent to this email address.
    SignUpCodeSent(String),
    /// A verification code was sent to this email address.
    VerificationCodeSent(String),
    /// The password was changed, and all other sessions were revoked.
    PasswordChanged,
    /// The username or the name was changed.
    ProfileSaved,
    /// A code was sent to this new email address.
    EmailChangeCodeSent(String),
    /// The email address was changed, and all other sessions were revoked.
    EmailChanged,
    /// The session of this device was revoked.
    SessionRevoked(String),
    /// All other sessions were revoked.
    OtherSessionsRevoked,
    /// A personal access token was deleted.
    TokenDeleted,
    /// The account was deleted.
    AccountDeleted,
    /// The email address is verified.
    EmailVerified,
    /// The page to which the sign-in should return isn't one of this server's.
    ReturnRejected,
}

impl Note {
    /// Returns the email address that the note contains.
    pub fn email(&self) -> Option<&str> {
        match self {
            Note::ResetCodeSent(email)
            | Note::SignUpCodeSent(email)
            | Note::VerificationCodeSent(email) => Some(email),
            _other => None,
        }
    }

    /// Returns the value of the cookie.
    pub fn sign(&self, keys: &MacKeys) -> String {
        self.sign_at(keys, now())
    }

    fn sign_at(&self, keys: &MacKeys, now: u64) -> String {
        let message = serde_json::to_vec(&(now + LIFETIME, self)).expect("a note is JSON");
        let tag = keys.sign(&[&message]);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}", encode(&message), encode(&tag))
    }

    /// Reads the value of the cookie. Returns `None` if it is invalid or expired.
    pub fn verify(value: &str, keys: &MacKeys) -> Option<Note> {
        Note::verify_at(value, keys, now())
    }

    fn verify_at(value: &str, keys: &MacKeys, now: u64) -> Option<Note> {
        let (message, tag) = value.split_once('.')?;
        let message = URL_SAFE_NO_PAD.decode(message).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        if !keys.verify(&message, &tag) {
            return None;
        }
        let (expires_at, note): (u64, Note) = serde_json::from_slice(&message).ok()?;
        (now < expires_at).then_some(note)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use latchkey_domain::master_secret::MasterSecrets;

    use super::*;

    fn keys() -> MacKeys {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(secret);
        MasterSecrets::parse(&text).unwrap().mac_keys(KEY_LABEL)
    }

    #[test]
    fn note_is_valid_for_a_minute_and_for_its_keys() {
        let (keys, note) = (keys(), Note::ResetCodeSent("john@example.com".into()));
        let value = note.sign_at(&keys, 1_000);
        assert_eq!(Note::verify_at(&value, &keys, 1_059), Some(note));
        assert_eq!(Note::verify_at(&value, &keys, 1_060), None);
        assert_eq!(Note::verify_at(&value, &self::keys(), 1_000), None);
    }

    #[test]
    fn altered_note_is_rejected() {
        let keys = keys();
        let value = Note::EmailVerified.sign_at(&keys, 1_000);
        let other = Note::PasswordReset.sign_at(&keys, 1_000);
        let mixed = format!(
            "{}.{}",
            value.split_once('.').unwrap().0,
            other.split_once('.').unwrap().1
        );
        for altered in ["", ".", "a.b", &value[1..], &mixed, &format!("{value}x")] {
            assert_eq!(Note::verify_at(altered, &keys, 1_000), None, "{altered}");
        }
    }
}
