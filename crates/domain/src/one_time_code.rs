//! One-time codes that emails contain: 10 characters of Crockford's base32 (50 bits).
//!
//! A code is derived from the ID of its email in the outbox. A repeated delivery therefore contains
//! the same code, and PostgreSQL does not store it. Redis stores a keyed hash of the current code.

use aws_lc_rs::digest;
use strum::IntoStaticStr;
use uuid::{Builder, Uuid};

use crate::{
    master_secret::{MacKey, MasterSecret, MasterSecrets},
    text::{ParsedText, Rejection, TextRules},
};

/// Crockford's base32 without I, L, O, and U, which are easily confused with other characters.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Length of a code: 50 bits.
///
/// OWASP ASVS 5.0, 6.5.4 requires at least 20 bits. With the limit on attempts, a code with 50 bits
/// cannot be guessed.
const CODE_CHARACTERS: usize = 10;

/// Accepted input, for the OpenAPI document: ten characters, and any others that can't be part of a
/// code.
const PATTERN: &str = "^[^0-9A-TV-Za-tv-z]*([0-9A-TV-Za-tv-z][^0-9A-TV-Za-tv-z]*){10}$";

/// A one-time code. Only [`OneTimeCode::for_mail`] returns its text, so that it cannot be logged.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct OneTimeCode([u8; CODE_CHARACTERS]);

/// The purpose of a code. A code for one purpose is invalid for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CodePurpose {
    /// To set a new password.
    PasswordReset,
    /// To verify an email address.
    EmailConfirmation,
    /// To sign up with a verified email address.
    SignUp,
    /// To set the first password of a user that an administrator has created.
    Invitation,
}

impl CodePurpose {
    /// Returns the stored value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the purpose with which this one shares the counters of wrong codes.
    ///
    /// An invitation and a reset code are entered in the same place. With separate counters, each
    /// wrong code would have to count in both.
    pub fn counted_as(self) -> CodePurpose {
        match self {
            CodePurpose::Invitation => CodePurpose::PasswordReset,
            other => other,
        }
    }
}

/// The keys of all codes. During a rotation of the master secret, codes of both secrets are valid.
pub struct CodeKeys {
    first: DerivedKeys,
    second: Option<DerivedKeys>,
    decoy_user_id: MacKey,
}

/// The keys of one master secret: one derives codes, the other hashes them for storage.
struct DerivedKeys {
    derivation: MacKey,
    storage: MacKey,
}

impl DerivedKeys {
    fn new(secret: &MasterSecret) -> DerivedKeys {
        DerivedKeys {
            derivation: secret.mac_key("latchkey one-time codes"),
            storage: secret.mac_key("latchkey one-time code hashes"),
        }
    }

    fn derive(&self, purpose: CodePurpose, email_id: Uuid) -> OneTimeCode {
        let mac = self
            .derivation
            .sign(&[email_id.as_bytes(), purpose.as_str().as_bytes()]);
        let mut code = [0; CODE_CHARACTERS];
        code.iter_mut()
            .zip(mac)
            .for_each(|(character, byte)| *character = ALPHABET[usize::from(byte & 31)]);
        OneTimeCode(code)
    }

    fn hash(&self, purpose: CodePurpose, subject_id: Uuid, code: &OneTimeCode) -> CodeHash {
        self.storage
            .sign(&[subject_id.as_bytes(), &code.0, purpose.as_str().as_bytes()])
    }
}

/// The stored hash of a code. It is valid for one user and one purpose only.
pub type CodeHash = [u8; 32];

/// The code of an email with its hash.
pub struct DerivedCode {
    /// The code.
    pub code: OneTimeCode,
    /// The hash that Redis stores.
    pub hash: CodeHash,
}

impl CodeKeys {
    /// Derives the keys from the master secrets.
    pub fn new(secrets: &MasterSecrets) -> CodeKeys {
        CodeKeys {
            first: DerivedKeys::new(secrets.first()),
            second: secrets.second().map(DerivedKeys::new),
            // Only the first secret is used. When it changes, the attempt counters of unknown email
            // addresses start again, like those of networks.
            decoy_user_id: secrets.first().mac_key("latchkey unknown accounts"),
        }
    }

    /// Derives the code that an email contains. `email_id` is its ID in the outbox.
    pub fn derive(&self, purpose: CodePurpose, email_id: Uuid, subject_id: Uuid) -> DerivedCode {
        derive_code(&self.first, purpose, email_id, subject_id)
    }

    /// Derives the code of an email as a replica with the secrets in the other order derives it.
    ///
    /// A repeated delivery must contain the code of the first delivery, which can be either of the
    /// two. Returns `None` without a second secret.
    pub fn derive_with_other_secret(
        &self,
        purpose: CodePurpose,
        email_id: Uuid,
        subject_id: Uuid,
    ) -> Option<DerivedCode> {
        self.second
            .as_ref()
            .map(|second| derive_code(second, purpose, email_id, subject_id))
    }

    /// Returns the hashes of an entered code under the first and the second secret.
    ///
    /// The stored hash of a valid code equals one of them. Without a second secret, both are equal,
    /// so that callers need no special case.
    pub fn hashes(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        code: &OneTimeCode,
    ) -> [CodeHash; 2] {
        [&self.first, self.second.as_ref().unwrap_or(&self.first)]
            .map(|keys| keys.hash(purpose, subject_id, code))
    }

    /// Returns the ID of a nonexistent user, always the same for the same email address.
    ///
    /// Attempts for unknown and for known addresses then cause the same work and are counted
    /// equally. Responses therefore do not reveal which addresses exist.
    pub fn decoy_user_id(&self, email: &str) -> Uuid {
        let mac = self
            .decoy_user_id
            .sign(&[email.to_ascii_lowercase().as_bytes()]);
        Uuid::from_slice(&mac[..16]).expect("a UUID of 16 bytes")
    }
}

/// Returns the ID under which the sign-up codes of an email address are stored, because the address
/// has no user yet. It ignores the case of the address.
///
/// The hash has no key, so that codes stay valid during a rotation of the master secret. Version 8
/// distinguishes the ID from the IDs of users.
pub fn sign_up_subject_id(email: &str) -> Uuid {
    let text = format!("latchkey sign-up {}", email.to_ascii_lowercase());
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let bytes = hash.as_ref()[..16].try_into().expect("16 bytes");
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn derive_code(
    keys: &DerivedKeys,
    purpose: CodePurpose,
    email_id: Uuid,
    subject_id: Uuid,
) -> DerivedCode {
    let code = keys.derive(purpose, email_id);
    DerivedCode {
        hash: keys.hash(purpose, subject_id, &code),
        code,
    }
}

impl OneTimeCode {
    /// Returns the code as an email contains it, with a hyphen after five characters.
    pub fn for_mail(&self) -> String {
        let text: String = self.0.iter().map(|b| char::from(*b)).collect();
        format!("{}-{}", &text[..5], &text[5..])
    }
}

impl ParsedText for OneTimeCode {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 40,
        pattern: Some(PATTERN),
        example: "7H3KM-X9QTA",
    };

    /// Parses entered text: in any case, without all characters that can't be part of a code, such
    /// as hyphens, spaces, and the line break of a pasted code.
    ///
    /// The letters O, I, and L are read as the digits that they resemble.
    fn parse(text: &str) -> Result<Self, Rejection> {
        crate::text::length(text, Self::RULES)?;
        let characters: Vec<u8> = text.bytes().filter_map(canonical_character).collect();
        characters
            .try_into()
            .map(OneTimeCode)
            .map_err(|_| "must be the 10-character code from the email".into())
    }
}

fn canonical_character(input: u8) -> Option<u8> {
    let character = match input.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.contains(&character).then_some(character)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn random_secret() -> String {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    fn keys_with(secrets: &str) -> CodeKeys {
        CodeKeys::new(&MasterSecrets::parse(secrets).ok().unwrap())
    }

    fn keys() -> CodeKeys {
        keys_with(&random_secret())
    }

    proptest! {
        #[test]
        fn text_that_matches_pattern_is_accepted(text in crate::text::matching(PATTERN)) {
            prop_assert_eq!(
                OneTimeCode::parse(&text).is_ok(),
                text.len() <= OneTimeCode::RULES.max
            );
        }

        #[test]
        fn code_from_email_is_parsed(email_id: u128, lower: bool) {
            let code = keys()
                .derive(CodePurpose::PasswordReset, Uuid::from_u128(email_id), Uuid::nil())
                .code;
            let text = code.for_mail();
            let input = if lower { text.to_lowercase().replace('-', " ") } else { text };
            prop_assert!(OneTimeCode::parse(&input).is_ok_and(|parsed| parsed == code));
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "\\PC{0,45}") {
            let _ = OneTimeCode::parse(&text);
        }
    }

    #[test]
    fn letters_that_resemble_digits_are_parsed_as_digits() {
        let parse = |text| OneTimeCode::parse(text).ok().unwrap();
        assert!(parse("oOiIl-LAAAA") == parse("00111-1AAAA"));
        assert!(OneTimeCode::parse("UUUUU-UUUUU").is_err());
    }

    #[test]
    fn codes_differ_by_email_and_hashes_by_user() {
        let keys = keys();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let derive =
            |email_id, subject_id| keys.derive(CodePurpose::PasswordReset, email_id, subject_id);
        let derived = derive(one, one);
        assert!(derived.code == derive(one, two).code && derived.code != derive(two, one).code);
        assert_ne!(derived.hash, derive(one, two).hash);
        assert_eq!(
            keys.hashes(CodePurpose::PasswordReset, one, &derived.code),
            [derived.hash; 2]
        );
    }

    #[test]
    fn codes_of_both_secrets_are_valid_during_rotation() {
        let (old, new, email_id) = (random_secret(), random_secret(), Uuid::from_u128(1));
        let (before, after) = (
            keys_with(&format!("{old},{new}")),
            keys_with(&format!("{new},{old}")),
        );
        let purpose = CodePurpose::EmailConfirmation;
        let sent = keys_with(&old).derive(purpose, email_id, email_id);
        for keys in [&before, &after, &keys_with(&old)] {
            assert!(
                keys.hashes(purpose, email_id, &sent.code)
                    .contains(&sent.hash)
            );
        }
        assert!(
            !keys_with(&new)
                .hashes(purpose, email_id, &sent.code)
                .contains(&sent.hash)
        );
        assert!(before.derive(purpose, email_id, email_id).hash == sent.hash);
        assert!(
            after
                .derive_with_other_secret(purpose, email_id, email_id)
                .unwrap()
                .hash
                == sent.hash
        );
        assert!(
            keys_with(&new)
                .derive_with_other_secret(purpose, email_id, email_id)
                .is_none()
        );
    }

    #[test]
    fn sign_up_subject_depends_on_address_only_and_is_no_user_id() {
        let subject_id = sign_up_subject_id("A@example.com");
        assert_eq!(subject_id, sign_up_subject_id("a@EXAMPLE.com"));
        assert_ne!(subject_id, sign_up_subject_id("b@example.com"));
        assert_eq!(subject_id.get_version_num(), 8);
    }

    #[test]
    fn decoy_user_id_depends_on_address_only() {
        let keys = keys();
        assert_eq!(
            keys.decoy_user_id("A@example.com"),
            keys.decoy_user_id("a@example.com")
        );
        assert_ne!(
            keys.decoy_user_id("a@example.com"),
            keys.decoy_user_id("b@example.com")
        );
    }
}
