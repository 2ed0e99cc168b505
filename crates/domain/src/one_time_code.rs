//! One-time codes that are sent by mail: 10 characters of Crockford's base32, which are 50 bits.
//!
//! A code is *derived* from the row of the outbox that sends it, so that sending again sends the
//! same one and no table holds it. Redis holds a keyed hash of the current one.

use uuid::Uuid;

use crate::{
    master_secret::{MacKey, MasterSecret, MasterSecrets},
    text::{ParsedText, Rejection, TextRules},
};

/// Without I, L, O and U, which people misread or mistype.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 10 characters of 5 bits each (OWASP ASVS 5.0, 6.5.4 wants at least 20 bits; counted tries make
/// 50 unguessable).
const CHARACTERS: usize = 10;

/// What people may type, for a schema: ten characters, with hyphens and spaces wherever they like.
const PATTERN: &str = "^[- ]*([0-9A-TV-Za-tv-z][- ]*){10}$";

/// A code. It has neither `Debug` nor `Display`; [`OneTimeCode::for_mail`] is the only way to read
/// it.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct OneTimeCode([u8; CHARACTERS]);

/// What a code is good for; a code for one purpose is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePurpose {
    /// Choosing a new password.
    PasswordReset,
    /// Showing that one reads mail at an address.
    EmailConfirmation,
}

impl CodePurpose {
    /// The purpose as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            CodePurpose::PasswordReset => "password_reset",
            CodePurpose::EmailConfirmation => "email_confirmation",
        }
    }
}

/// The keys of all codes. While the secret is exchanged a code of either is good, whichever replica
/// has mailed it.
pub struct CodeKeys {
    first: DerivedKeys,
    second: Option<DerivedKeys>,
    decoy_user_id: MacKey,
}

/// The keys under one secret: one derives codes, the other hashes them for storage.
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

    fn derive(&self, purpose: CodePurpose, row: Uuid) -> OneTimeCode {
        let mac = self
            .derivation
            .sign(&[row.as_bytes(), purpose.as_str().as_bytes()]);
        let mut code = [0; CHARACTERS];
        code.iter_mut()
            .zip(mac)
            .for_each(|(character, byte)| *character = ALPHABET[usize::from(byte & 31)]);
        OneTimeCode(code)
    }

    fn hash(&self, purpose: CodePurpose, sub: Uuid, code: &OneTimeCode) -> CodeHash {
        self.storage
            .sign(&[sub.as_bytes(), &code.0, purpose.as_str().as_bytes()])
    }
}

/// What is stored of a code: good for one account and one purpose only.
pub type CodeHash = [u8; 32];

/// The code of a mail, and what is stored of it.
pub struct DerivedCode {
    /// The code.
    pub code: OneTimeCode,
    /// Its hash.
    pub hash: CodeHash,
}

impl CodeKeys {
    /// The keys under these secrets.
    pub fn new(secrets: &MasterSecrets) -> CodeKeys {
        CodeKeys {
            first: DerivedKeys::new(secrets.first()),
            second: secrets.second().map(DerivedKeys::new),
            // Under the first alone: an address is another nobody once, when the first secret is
            // another, and the tries for it are counted anew, as they are for networks.
            decoy_user_id: secrets.first().mac_key("latchkey unknown accounts"),
        }
    }

    /// The code that the mail of this row carries to this account.
    pub fn derive(&self, purpose: CodePurpose, row: Uuid, sub: Uuid) -> DerivedCode {
        derived(&self.first, purpose, row, sub)
    }

    /// The code that a replica which has the secrets in the other order has made, or would make, of
    /// the same row. A mail is sent again with the code that it was sent with: one of the two is
    /// stored.
    pub fn derive_with_other_secret(
        &self,
        purpose: CodePurpose,
        row: Uuid,
        sub: Uuid,
    ) -> Option<DerivedCode> {
        self.second
            .as_ref()
            .map(|second| derived(second, purpose, row, sub))
    }

    /// What may be stored of a code that was typed: under the first secret and under the second.
    /// Without a second it is the same twice, so that nobody need ask how many there are.
    pub fn hashes(&self, purpose: CodePurpose, sub: Uuid, code: &OneTimeCode) -> [CodeHash; 2] {
        [&self.first, self.second.as_ref().unwrap_or(&self.first)]
            .map(|pair| pair.hash(purpose, sub, code))
    }

    /// An account that does not exist, but always the same for the same address: so that a try for
    /// an unknown address does the same work and is counted the same way as one for a known
    /// address.
    pub fn decoy_user_id(&self, email: &str) -> Uuid {
        let mac = self
            .decoy_user_id
            .sign(&[email.to_ascii_lowercase().as_bytes()]);
        Uuid::from_slice(&mac[..16]).expect("16 bytes are a uuid")
    }
}

fn derived(pair: &DerivedKeys, purpose: CodePurpose, row: Uuid, sub: Uuid) -> DerivedCode {
    let code = pair.derive(purpose, row);
    DerivedCode {
        hash: pair.hash(purpose, sub, &code),
        code,
    }
}

impl OneTimeCode {
    /// The code as a mail shows it.
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

    /// Reads what people type: in any case, with or without hyphens and spaces, with the letters
    /// that look like digits.
    fn parse(text: &str) -> Result<Self, Rejection> {
        crate::text::length(text, Self::RULES)?;
        let typed = text.bytes().filter(|b| !matches!(b, b'-' | b' '));
        let read: Option<Vec<u8>> = typed.map(canonical).collect();
        let code = read.and_then(|read| read.try_into().ok());
        code.map(OneTimeCode)
            .ok_or_else(|| "must be the 10-character code from the email".into())
    }
}

fn canonical(typed: u8) -> Option<u8> {
    let read = match typed.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.contains(&read).then_some(read)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn random() -> String {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    fn keys_of(secrets: &str) -> CodeKeys {
        CodeKeys::new(&MasterSecrets::parse(secrets).ok().unwrap())
    }

    fn keys() -> CodeKeys {
        keys_of(&random())
    }

    proptest! {
        #[test]
        fn what_fits_the_pattern_is_read(text in crate::text::that_fit(PATTERN)) {
            prop_assert_eq!(
                OneTimeCode::parse(&text).is_ok(),
                text.len() <= OneTimeCode::RULES.max
            );
        }

        #[test]
        fn what_the_mail_shows_can_be_typed_back(row: u128, lower: bool) {
            let code = keys()
                .derive(CodePurpose::PasswordReset, Uuid::from_u128(row), Uuid::nil())
                .code;
            let shown = code.for_mail();
            let typed = if lower { shown.to_lowercase().replace('-', " ") } else { shown };
            prop_assert!(OneTimeCode::parse(&typed).is_ok_and(|read| read == code));
        }

        #[test]
        fn other_texts_are_refused_without_a_panic(text in "\\PC{0,45}") {
            let _ = OneTimeCode::parse(&text);
        }
    }

    #[test]
    fn letters_that_look_like_digits_are_read_as_digits() {
        let read = |text| OneTimeCode::parse(text).ok().unwrap();
        assert!(read("oOiIl-LAAAA") == read("00111-1AAAA"));
        assert!(OneTimeCode::parse("UUUUU-UUUUU").is_err());
    }

    #[test]
    fn codes_differ_by_row_and_hashes_by_account() {
        let keys = keys();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let derive = |row, sub| keys.derive(CodePurpose::PasswordReset, row, sub);
        let of_one = derive(one, one);
        assert!(of_one.code == derive(one, two).code && of_one.code != derive(two, one).code);
        assert_ne!(of_one.hash, derive(one, two).hash);
        assert_eq!(
            keys.hashes(CodePurpose::PasswordReset, one, &of_one.code),
            [of_one.hash; 2]
        );
    }

    #[test]
    fn codes_of_either_secret_are_known_under_both() {
        let (old, new, row) = (random(), random(), Uuid::from_u128(1));
        let (before, after) = (
            keys_of(&format!("{old},{new}")),
            keys_of(&format!("{new},{old}")),
        );
        let purpose = CodePurpose::EmailConfirmation;
        let mailed = keys_of(&old).derive(purpose, row, row);
        for keys in [&before, &after, &keys_of(&old)] {
            assert!(
                keys.hashes(purpose, row, &mailed.code)
                    .contains(&mailed.hash)
            );
        }
        assert!(
            !keys_of(&new)
                .hashes(purpose, row, &mailed.code)
                .contains(&mailed.hash)
        );
        assert!(before.derive(purpose, row, row).hash == mailed.hash);
        assert!(
            after
                .derive_with_other_secret(purpose, row, row)
                .unwrap()
                .hash
                == mailed.hash
        );
        assert!(
            keys_of(&new)
                .derive_with_other_secret(purpose, row, row)
                .is_none()
        );
    }

    #[test]
    fn an_unknown_address_is_always_the_same_nobody() {
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
