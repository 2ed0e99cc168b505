//! Refresh tokens: opaque to clients; inside, the session and a counter under a MAC.
//!
//! Nothing usable is stored anywhere. Redis keeps the session's current counter only, so that the
//! next token is *derived again* from it, not looked up, and every replica derives the same one.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::master_secret::{MacKeys, MasterSecrets};

/// In front of every token, so that secret scanners can know one.
pub const PREFIX: &str = "lkr_";

/// `sub`, `sid` and the counter.
const BODY_BYTES: usize = 16 + 16 + 8;

/// HMAC-SHA-256, not shortened.
const MAC_BYTES: usize = 32;

/// What a refresh token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// How often the session had been refreshed when the token was made.
    pub counter: u64,
}

/// The key of all refresh tokens. While the secret is exchanged, a token of either is good: nobody
/// is signed out, and who refreshes gets one of the first. What a session's token says does not
/// depend on the secret that it was made under, so a replica that makes them under the other one
/// gives, within the grace window, the same child in other words.
pub struct RefreshKey(MacKeys);

impl RefreshKey {
    /// The key under these secrets.
    pub fn new(secrets: &MasterSecrets) -> RefreshKey {
        RefreshKey(secrets.mac_keys("latchkey refresh tokens"))
    }

    /// The token as the client gets it.
    pub fn seal(&self, token: &RefreshToken) -> String {
        let body = body(token);
        let sealed = [body.as_slice(), &self.0.sign(&[&body])].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What the text says, if it was made under this key. Any change of a single bit is noticed.
    pub fn open(&self, text: &str) -> Option<RefreshToken> {
        let encoded = text.strip_prefix(PREFIX)?;
        let mut sealed = [0; BODY_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut sealed).ok()?;
        let (body, mac) = sealed.split_at(BODY_BYTES);
        (length == sealed.len() && self.0.verify(body, mac)).then(|| read(body))
    }
}

fn body(token: &RefreshToken) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    body[..16].copy_from_slice(token.sub.as_bytes());
    body[16..32].copy_from_slice(token.sid.as_bytes());
    body[32..].copy_from_slice(&token.counter.to_be_bytes());
    body
}

fn read(body: &[u8]) -> RefreshToken {
    let part = |range: std::ops::Range<usize>| {
        body.get(range)
            .expect("the body has its length by construction")
    };
    RefreshToken {
        sub: Uuid::from_slice(part(0..16)).expect("16 bytes are a uuid"),
        sid: Uuid::from_slice(part(16..32)).expect("16 bytes are a uuid"),
        counter: u64::from_be_bytes(part(32..40).try_into().expect("8 bytes are a u64")),
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
        fn tokens_come_back(sub: u128, sid: u128, counter: u64) {
            let key = key();
            let token = RefreshToken {
                sub: Uuid::from_u128(sub),
                sid: Uuid::from_u128(sid),
                counter,
            };
            prop_assert_eq!(key.open(&key.seal(&token)), Some(token));
        }

        #[test]
        fn any_changed_character_is_refused(
            at in 0usize..100,
            with in "[A-Za-z0-9_-]",
            counter: u64,
        ) {
            let key = key();
            let good = key.seal(&RefreshToken { sub: Uuid::nil(), sid: Uuid::max(), counter });
            let mut bad = good.clone();
            bad.replace_range(at..=at, &with);
            prop_assert_eq!(key.open(&bad).is_some(), bad == good);
        }

        #[test]
        fn other_texts_are_refused(text in "\\PC{0,200}") {
            prop_assert_eq!(key().open(&text), None);
        }
    }

    #[test]
    fn another_secret_opens_nothing() {
        let token = RefreshToken {
            sub: Uuid::nil(),
            sid: Uuid::nil(),
            counter: 1,
        };
        assert_eq!(key().open(&key().seal(&token)), None);
    }

    #[test]
    fn longer_and_shorter_texts_are_refused() {
        let key = key();
        let good = key.seal(&RefreshToken {
            sub: Uuid::nil(),
            sid: Uuid::nil(),
            counter: 1,
        });
        assert_eq!(key.open(&format!("{good}AAAA")), None);
        assert_eq!(key.open(&good[..good.len() - 4]), None);
    }
}
