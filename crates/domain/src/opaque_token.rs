//! Opaque tokens: personal access tokens, and the secrets of OAuth clients. The record holds a hash
//! of them only.
//!
//! One string: a prefix by which secret scanners know it, and base64url of the id (16 bytes), the
//! secret (32 random bytes) and a checksum (the first 4 bytes of the SHA-256 of what stands before
//! it, prefix included). So a typing mistake, and what a scanner takes for one of these, are told
//! apart without asking anybody.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::text::{self, ParsedText, Rejection, TextRules};

/// Bytes of the secret part: 256 bits, which nobody guesses, so that a plain hash of it is enough.
pub const SECRET_BYTES: usize = 32;

/// Bytes of an id.
const ID_BYTES: usize = 16;

/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// Bytes in all.
const BYTES: usize = ID_BYTES + SECRET_BYTES + CHECKSUM_BYTES;

/// What a token is for, which its prefix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueTokenKind {
    /// A user's program signs in with it.
    PersonalAccessToken,
    /// An OAuth client proves that it is itself.
    ClientSecret,
}

impl OpaqueTokenKind {
    /// In front of every token.
    pub const fn prefix(self) -> &'static str {
        match self {
            OpaqueTokenKind::PersonalAccessToken => "lkp_",
            OpaqueTokenKind::ClientSecret => "lks_",
        }
    }

    /// Whether a text says that it is one of these.
    pub fn matches_prefix(self, text: &str) -> bool {
        text.starts_with(self.prefix())
    }
}

/// A token as its holder knows it. It has neither `Debug` nor `Display`.
pub struct OpaqueToken {
    /// What it is for.
    pub purpose: OpaqueTokenKind,
    /// Which row it belongs to.
    pub id: Uuid,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl OpaqueToken {
    /// A token with this secret, which must be random.
    pub fn new(
        purpose: OpaqueTokenKind,
        id: Uuid,
        secret: Zeroizing<[u8; SECRET_BYTES]>,
    ) -> OpaqueToken {
        OpaqueToken {
            purpose,
            id,
            secret,
        }
    }

    /// The token as its holder gets it, once.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        bytes[..ID_BYTES].copy_from_slice(self.id.as_bytes());
        bytes[ID_BYTES..][..SECRET_BYTES].copy_from_slice(self.secret.as_slice());
        let checksum = checksum(self.purpose, &bytes[..ID_BYTES + SECRET_BYTES]);
        bytes[ID_BYTES + SECRET_BYTES..].copy_from_slice(&checksum);
        let mut text = Zeroizing::new(self.purpose.prefix().to_owned());
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        text
    }

    /// Reads a token of this purpose; nothing where it is none.
    pub fn read(purpose: OpaqueTokenKind, text: &str) -> Option<OpaqueToken> {
        // A little longer, which the decoder wants.
        let mut bytes = Zeroizing::new([0; BYTES + 2]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(text.strip_prefix(purpose.prefix())?, bytes.as_mut_slice())
            .ok()?;
        let (body, sum) = bytes[..length].split_at_checked(ID_BYTES + SECRET_BYTES)?;
        let (id, secret) = body.split_at(ID_BYTES);
        let secret = Zeroizing::new(secret.try_into().ok()?);
        (sum == checksum(purpose, body)).then_some(OpaqueToken {
            purpose,
            id: Uuid::from_slice(id).ok()?,
            secret,
        })
    }

    /// What the record holds of it.
    pub fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.secret.as_slice())
            .as_ref()
            .to_vec()
    }

    /// Whether the record means this one. Compares in constant time.
    pub fn matches_hash(&self, hash: &[u8]) -> bool {
        verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}

fn checksum(purpose: OpaqueTokenKind, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(purpose.prefix().as_bytes());
    context.update(body);
    context.finish().as_ref()[..CHECKSUM_BYTES]
        .try_into()
        .expect("a digest is longer than its beginning")
}

/// What somebody calls a client or a token of theirs: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The label as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ParsedText for Label {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 100,
        pattern: text::LINE,
        example: "backup job",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(Label(text.to_owned()))
    }
}

/// When something is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(pub OffsetDateTime);

impl ParsedText for Expiry {
    const RULES: TextRules = TextRules {
        format: Some("date-time"),
        min: 20,
        max: 40,
        pattern: None,
        example: "2027-02-18T08:00:00Z",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        OffsetDateTime::parse(text, &Rfc3339)
            .map(Expiry)
            .map_err(|_| "must be an RFC 3339 date-time such as `2027-02-18T08:00:00Z`".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(purpose: OpaqueTokenKind, id: u128, secret: [u8; SECRET_BYTES]) -> OpaqueToken {
        OpaqueToken::new(purpose, Uuid::from_u128(id), Zeroizing::new(secret))
    }

    proptest! {
        #[test]
        fn tokens_come_back(id: u128, secret: [u8; SECRET_BYTES]) {
            for (purpose, other) in [
                (OpaqueTokenKind::PersonalAccessToken, OpaqueTokenKind::ClientSecret),
                (OpaqueTokenKind::ClientSecret, OpaqueTokenKind::PersonalAccessToken),
            ] {
                let made = token(purpose, id, secret);
                let text = made.text();
                let read = OpaqueToken::read(purpose, &text).unwrap();
                prop_assert!(read.id == made.id && read.matches_hash(&made.hash()));
                prop_assert!(OpaqueToken::read(other, &text).is_none());
                let disguised = text.replacen(purpose.prefix(), other.prefix(), 1);
                prop_assert!(OpaqueToken::read(other, &disguised).is_none());
            }
        }

        #[test]
        fn a_mistyped_character_shows(
            id: u128,
            secret: [u8; SECRET_BYTES],
            at in 0usize..74,
            typed in "[A-Za-z0-9_-]",
        ) {
            let good = token(OpaqueTokenKind::PersonalAccessToken, id, secret).text();
            prop_assert_eq!(good.len(), 74);
            let mut bad = good.to_string();
            bad.replace_range(at..=at, &typed);
            prop_assert_eq!(
                OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, &bad).is_some(),
                bad == *good
            );
        }

        #[test]
        fn no_text_makes_it_panic(text in "(lkp_)?\\PC{0,100}") {
            prop_assert!(OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, &text).is_none());
        }
    }

    #[test]
    fn another_secret_is_not_known() {
        let (one, other) = (
            token(OpaqueTokenKind::ClientSecret, 1, [1; 32]),
            token(OpaqueTokenKind::ClientSecret, 1, [2; 32]),
        );
        assert!(one.matches_hash(&one.hash()) && !one.matches_hash(&other.hash()));
        assert!(!one.matches_hash(&one.hash()[..31]));
    }
}
