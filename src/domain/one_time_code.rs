//! One-time codes that are sent by mail: 10 characters of Crockford's base32, which are 50 bits.
//!
//! A code is *derived* from the row of the outbox that sends it, so that sending again sends the same one and no table
//! holds it. Redis holds a keyed hash of the current one.

use uuid::Uuid;

use super::{
    master_secret::{MacKey, MasterSecret},
    text::{Parsed, Reason, Shape},
};

/// Without I, L, O and U, which people misread or mistype.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 10 characters of 5 bits each (OWASP ASVS 5.0, 6.5.4 wants at least 20 bits; counted tries make 50 unguessable).
const CHARACTERS: usize = 10;

/// A code. It has neither `Debug` nor `Display`; [`OneTimeCode::for_mail`] is the only way to read it.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct OneTimeCode([u8; CHARACTERS]);

/// What a code is good for; a code for one purpose is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Choosing a new password.
    PasswordReset,
    /// Showing that one reads mail at an address.
    EmailConfirmation,
}

impl Purpose {
    /// The purpose as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::PasswordReset => "password_reset",
            Purpose::EmailConfirmation => "email_confirmation",
        }
    }
}

/// The keys of all codes: one derives them, the other hashes them for storage.
pub struct CodeKeys {
    derivation: MacKey,
    storage: MacKey,
    nobody: MacKey,
}

impl CodeKeys {
    /// The keys under this secret.
    pub fn new(secret: &MasterSecret) -> CodeKeys {
        CodeKeys {
            derivation: secret.mac_key("latchkey one-time codes"),
            storage: secret.mac_key("latchkey one-time code hashes"),
            nobody: secret.mac_key("latchkey unknown accounts"),
        }
    }

    /// The code that the mail of this row carries.
    pub fn derive(&self, purpose: Purpose, row: Uuid) -> OneTimeCode {
        let mac = self.derivation.sign(&[row.as_bytes(), purpose.as_str().as_bytes()]);
        let mut code = [0; CHARACTERS];
        code.iter_mut().zip(mac).for_each(|(character, byte)| *character = ALPHABET[usize::from(byte & 31)]);
        OneTimeCode(code)
    }

    /// What is stored of a code: good for one account and one purpose only.
    pub fn hash(&self, purpose: Purpose, sub: Uuid, code: &OneTimeCode) -> [u8; 32] {
        self.storage.sign(&[sub.as_bytes(), &code.0, purpose.as_str().as_bytes()])
    }

    /// An account that does not exist, but always the same for the same address: so that a try for an unknown address
    /// does the same work and is counted the same way as one for a known address.
    pub fn nobody(&self, email: &str) -> Uuid {
        let mac = self.nobody.sign(&[email.to_ascii_lowercase().as_bytes()]);
        Uuid::from_slice(&mac[..16]).expect("16 bytes are a uuid")
    }
}

impl OneTimeCode {
    /// The code as a mail shows it.
    pub fn for_mail(&self) -> String {
        let text: String = self.0.iter().map(|b| char::from(*b)).collect();
        format!("{}-{}", &text[..5], &text[5..])
    }
}

impl Parsed for OneTimeCode {
    const SHAPE: Shape = Shape { format: None, min: 1, max: 40, pattern: None, example: "7H3KM-X9QTA" };

    /// Reads what people type: in any case, with or without hyphens and spaces, with the letters that look like digits.
    fn parse(text: &str) -> Result<Self, Reason> {
        super::text::length(text, Self::SHAPE)?;
        let typed = text.bytes().filter(|b| !matches!(b, b'-' | b' '));
        let read: Option<Vec<u8>> = typed.map(canonical).collect();
        let code = read.and_then(|read| read.try_into().ok());
        code.map(OneTimeCode).ok_or_else(|| "must be the ten characters of the mail, such as `XXXXX-XXXXX`".into())
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

    fn keys() -> CodeKeys {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        CodeKeys::new(&MasterSecret::parse(&STANDARD.encode(bytes)).ok().unwrap())
    }

    proptest! {
        #[test]
        fn what_the_mail_shows_can_be_typed_back(row: u128, lower: bool) {
            let code = keys().derive(Purpose::PasswordReset, Uuid::from_u128(row));
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
        let code = keys.derive(Purpose::PasswordReset, one);
        assert!(code == keys.derive(Purpose::PasswordReset, one));
        assert!(code != keys.derive(Purpose::PasswordReset, two));
        assert_ne!(keys.hash(Purpose::PasswordReset, one, &code), keys.hash(Purpose::PasswordReset, two, &code));
    }

    #[test]
    fn an_unknown_address_is_always_the_same_nobody() {
        let keys = keys();
        assert_eq!(keys.nobody("A@example.com"), keys.nobody("a@example.com"));
        assert_ne!(keys.nobody("a@example.com"), keys.nobody("b@example.com"));
    }
}
