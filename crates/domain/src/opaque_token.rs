//! Opaque tokens: personal access tokens, and the secrets of OAuth clients. PostgreSQL contains
//! only their hashes.
//!
//! A token consists of a prefix for secret scanners and the base64url encoding of ID (16 bytes),
//! secret (32 random bytes), and checksum. The checksum is the first 4 bytes of the SHA-256 hash of
//! everything before it. It exposes typing errors and false positives of scanners without a query.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::text::{self, ParsedText, Rejection, TextRules};

/// Length of the secret part: 256 random bits, for which a hash without salt is sufficient.
pub const SECRET_BYTES: usize = 32;

/// Length of an ID.
const ID_BYTES: usize = 16;

/// Length of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// Length of a token before encoding.
const TOKEN_BYTES: usize = ID_BYTES + SECRET_BYTES + CHECKSUM_BYTES;

/// The kind of an opaque token, which determines its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueTokenKind {
    /// A token with which a program of a user calls the API.
    PersonalAccessToken,
    /// A secret for the client authentication of an OAuth client.
    ClientSecret,
}

impl OpaqueTokenKind {
    /// Returns the prefix of all tokens of this kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            OpaqueTokenKind::PersonalAccessToken => "lkp_",
            OpaqueTokenKind::ClientSecret => "lks_",
        }
    }

    /// Returns whether the text has the prefix of this kind. It can still be malformed.
    pub fn matches_prefix(self, text: &str) -> bool {
        text.starts_with(self.prefix())
    }
}

/// A token in plaintext.
///
/// The type does not implement `Debug` or `Display`, so that the token cannot be logged.
pub struct OpaqueToken {
    /// The kind of the token.
    pub kind: OpaqueTokenKind,
    /// The ID of the token or OAuth client in PostgreSQL.
    pub id: Uuid,
    secret: SecretBox<[u8; SECRET_BYTES]>,
}

impl OpaqueToken {
    /// Creates a token. The secret must be random.
    pub fn new(
        kind: OpaqueTokenKind,
        id: Uuid,
        secret: SecretBox<[u8; SECRET_BYTES]>,
    ) -> OpaqueToken {
        OpaqueToken { kind, id, secret }
    }

    /// Returns the encoded token. The API returns it only once, at creation.
    pub fn text(&self) -> SecretString {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes[..ID_BYTES].copy_from_slice(self.id.as_bytes());
        bytes[ID_BYTES..][..SECRET_BYTES].copy_from_slice(self.secret.expose_secret());
        let checksum = checksum(self.kind, &bytes[..ID_BYTES + SECRET_BYTES]);
        bytes[ID_BYTES + SECRET_BYTES..].copy_from_slice(&checksum);
        let mut text = Zeroizing::new(self.kind.prefix().to_owned());
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        text.as_str().into()
    }

    /// Parses a token of this kind. Returns `None` if the text is malformed.
    pub fn read(kind: OpaqueTokenKind, text: &str) -> Option<OpaqueToken> {
        // The decoder requires a buffer that is slightly longer than its output.
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES + 2]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(text.strip_prefix(kind.prefix())?, bytes.as_mut_slice())
            .ok()?;
        let (body, actual_checksum) = bytes[..length].split_at_checked(ID_BYTES + SECRET_BYTES)?;
        let (id, secret) = body.split_at(ID_BYTES);
        let secret = SecretBox::init_with_mut(|bytes: &mut [u8; SECRET_BYTES]| {
            bytes.copy_from_slice(secret)
        });
        (actual_checksum == checksum(kind, body)).then_some(OpaqueToken {
            kind,
            id: Uuid::from_slice(id).ok()?,
            secret,
        })
    }

    /// Returns the SHA-256 hash of the secret, which PostgreSQL contains.
    pub fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.secret.expose_secret())
            .as_ref()
            .to_vec()
    }

    /// Returns whether the stored hash belongs to this token. Compares in constant time.
    pub fn matches_hash(&self, hash: &[u8]) -> bool {
        verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}

fn checksum(kind: OpaqueTokenKind, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kind.prefix().as_bytes());
    context.update(body);
    context.finish().as_ref()[..CHECKSUM_BYTES]
        .try_into()
        .expect("a digest of 32 bytes")
}

/// The name of an OAuth client or of a personal access token: one line of 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// Returns the validated text.
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

/// The requested expiry of a personal access token, an RFC 3339 date-time.
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

    fn token(kind: OpaqueTokenKind, id: u128, secret: [u8; SECRET_BYTES]) -> OpaqueToken {
        OpaqueToken::new(kind, Uuid::from_u128(id), SecretBox::new(Box::new(secret)))
    }

    proptest! {
        #[test]
        fn encoded_token_is_parsed_as_its_kind_only(id: u128, secret: [u8; SECRET_BYTES]) {
            for (kind, other) in [
                (OpaqueTokenKind::PersonalAccessToken, OpaqueTokenKind::ClientSecret),
                (OpaqueTokenKind::ClientSecret, OpaqueTokenKind::PersonalAccessToken),
            ] {
                let created = token(kind, id, secret);
                let text = created.text();
                let text = text.expose_secret();
                let parsed = OpaqueToken::read(kind, text).unwrap();
                prop_assert!(parsed.id == created.id && parsed.matches_hash(&created.hash()));
                prop_assert!(OpaqueToken::read(other, text).is_none());
                let disguised = text.replacen(kind.prefix(), other.prefix(), 1);
                prop_assert!(OpaqueToken::read(other, &disguised).is_none());
            }
        }

        #[test]
        fn changed_character_is_rejected(
            id: u128,
            secret: [u8; SECRET_BYTES],
            at in 0usize..74,
            replacement in "[A-Za-z0-9_-]",
        ) {
            let valid = token(OpaqueTokenKind::PersonalAccessToken, id, secret).text();
            let valid = valid.expose_secret();
            prop_assert_eq!(valid.len(), 74);
            let mut changed = valid.to_owned();
            changed.replace_range(at..=at, &replacement);
            prop_assert_eq!(
                OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, &changed).is_some(),
                changed == valid
            );
        }

        #[test]
        fn arbitrary_text_is_rejected_without_panic(text in "(lkp_)?\\PC{0,100}") {
            prop_assert!(OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, &text).is_none());
        }
    }

    #[test]
    fn hash_matches_only_its_secret() {
        let (one, other) = (
            token(OpaqueTokenKind::ClientSecret, 1, [1; 32]),
            token(OpaqueTokenKind::ClientSecret, 1, [2; 32]),
        );
        assert!(one.matches_hash(&one.hash()) && !one.matches_hash(&other.hash()));
        assert!(!one.matches_hash(&one.hash()[..31]));
    }
}
