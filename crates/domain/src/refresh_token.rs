//! Refresh tokens: opaque to clients. A token contains the user ID, the session ID, the rotation
//! counter (RFC 9700 section 4.14.2), and a MAC (RFC 2104).
//!
//! No store contains a refresh token. Redis stores only the current rotation counter of a session,
//! from which every replica derives the same token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::master_secret::{MacKeys, MasterSecrets};

/// The prefix of all refresh tokens, by which secret scanners find them.
pub const PREFIX: &str = "lkr_";

/// Length of the authenticated content: user ID, session ID, and the counter.
const BODY_BYTES: usize = 16 + 16 + 8;

/// Length of the MAC: HMAC-SHA-256, not truncated.
const MAC_BYTES: usize = 32;

/// The content of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The ID of the user.
    pub user_id: Uuid,
    /// The ID of the session.
    pub session_id: Uuid,
    /// The rotation counter of the session when the token was issued.
    pub counter: u64,
}

/// The key of all refresh tokens.
///
/// During a rotation of the master secret, tokens of both secrets are valid, so that no user is
/// signed out. New tokens use the first secret. The content of a token does not depend on the
/// secret, so replicas with the secrets in different orders issue equivalent tokens.
pub struct RefreshKey(MacKeys);

impl RefreshKey {
    /// Derives the key from the master secrets.
    pub fn new(secrets: &MasterSecrets) -> RefreshKey {
        RefreshKey(secrets.mac_keys("latchkey refresh tokens"))
    }

    /// Returns the encoded and authenticated token.
    pub fn sign(&self, token: &RefreshToken) -> String {
        let body = encode_body(token);
        let signed = [body.as_slice(), &self.0.sign(&[&body])].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(signed))
    }

    /// Verifies and decodes a token. Returns `None` if it was modified, or issued with another key.
    pub fn verify(&self, text: &str) -> Option<RefreshToken> {
        let encoded = text.strip_prefix(PREFIX)?;
        let mut signed = [0; BODY_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut signed).ok()?;
        let (body, mac) = signed.split_at(BODY_BYTES);
        (length == signed.len() && self.0.verify(body, mac)).then(|| decode_body(body))
    }
}

fn encode_body(token: &RefreshToken) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    body[..16].copy_from_slice(token.user_id.as_bytes());
    body[16..32].copy_from_slice(token.session_id.as_bytes());
    body[32..].copy_from_slice(&token.counter.to_be_bytes());
    body
}

fn decode_body(body: &[u8]) -> RefreshToken {
    let part = |range: std::ops::Range<usize>| body.get(range).expect("a body of 40 bytes");
    RefreshToken {
        user_id: Uuid::from_slice(part(0..16)).expect("a UUID of 16 bytes"),
        session_id: Uuid::from_slice(part(16..32)).expect("a UUID of 16 bytes"),
        counter: u64::from_be_bytes(part(32..40).try_into().expect("a counter of 8 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn key() -> RefreshKey {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        RefreshKey::new(&MasterSecrets::parse(&STANDARD.encode(bytes)).ok().unwrap())
    }

    proptest! {
        #[test]
        fn signed_token_is_verified(user_id: u128, session_id: u128, counter: u64) {
            let key = key();
            let token = RefreshToken {
                user_id: Uuid::from_u128(user_id),
                session_id: Uuid::from_u128(session_id),
                counter,
            };
            prop_assert_eq!(key.verify(&key.sign(&token)), Some(token));
        }

        #[test]
        fn changed_character_is_rejected(
            at in 0usize..100,
            replacement in "[A-Za-z0-9_-]",
            counter: u64,
        ) {
            let key = key();
            let (user_id, session_id) = (Uuid::nil(), Uuid::max());
            let valid = key.sign(&RefreshToken { user_id, session_id, counter });
            let mut changed = valid.clone();
            changed.replace_range(at..=at, &replacement);
            prop_assert_eq!(key.verify(&changed).is_some(), changed == valid);
        }

        #[test]
        fn arbitrary_text_is_rejected(text in "\\PC{0,200}") {
            prop_assert_eq!(key().verify(&text), None);
        }
    }

    #[test]
    fn token_of_another_secret_is_rejected() {
        let token = RefreshToken {
            user_id: Uuid::nil(),
            session_id: Uuid::nil(),
            counter: 1,
        };
        assert_eq!(key().verify(&key().sign(&token)), None);
    }

    #[test]
    fn longer_and_shorter_texts_are_rejected() {
        let key = key();
        let valid = key.sign(&RefreshToken {
            user_id: Uuid::nil(),
            session_id: Uuid::nil(),
            counter: 1,
        });
        assert_eq!(key.verify(&format!("{valid}AAAA")), None);
        assert_eq!(key.verify(&valid[..valid.len() - 4]), None);
    }
}
