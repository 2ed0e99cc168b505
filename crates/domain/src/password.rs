//! Passwords: policy, generation, and hashes (Argon2id, RFC 9106, in PHC string format).

mod argon2id;
mod policy;

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use icu_normalizer::ComposingNormalizerBorrowed;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::text::{ParsedText, Rejection, TextRules};

pub use crate::password::{
    argon2id::{Argon2Implementation, HashBuffer},
    policy::{PasswordList, PasswordPolicy, WeakPassword},
};

/// Memory of a hash: 19 MiB, as the OWASP Password Storage Cheat Sheet recommends.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes of a hash. The cheat sheet recommends two passes for 19 MiB.
const PASSES: u32 = 2;

/// Maximum memory of an imported hash, so that one sign-in cannot exhaust the memory.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;

/// Maximum memory times passes of an imported hash, so that it cannot occupy a thread for minutes.
const MAX_WORK_KIB: u64 = 16 * MAX_MEMORY_KIB as u64;

/// Maximum lanes of an imported hash, which are computed one after the other.
const MAX_LANES: u32 = 64;

/// Lanes of a hash: one, because one thread computes the hash.
const LANES: u32 = 1;

/// Length of a salt (recommended by RFC 9106 section 3.1).
pub const SALT_BYTES: usize = 16;

/// Maximum length of a password (OWASP ASVS 5.0, 6.2.9 requires at least 64 characters).
const MAX_PASSWORD_CHARACTERS: usize = 256;

/// Lowest minimum length in characters that an operator can set (NIST SP 800-63B-4 section 3.1.1).
pub const MIN_ALLOWED_MINIMUM: usize = 8;

/// A password as entered: not trimmed or truncated. New hashes are those of its normalized text.
///
/// The type does not implement `Debug` or `Display`, so that the password cannot be logged.
pub struct Password(SecretString);

impl ParsedText for Password {
    const RULES: TextRules = TextRules {
        format: Some("password"),
        min: 1,
        max: MAX_PASSWORD_CHARACTERS,
        pattern: None,
        example: "secret123",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        crate::text::length(text, Self::RULES)?;
        Ok(Password(text.into()))
    }
}

/// A password that a user sets.
///
/// The rules of the type, for the OpenAPI document, hold for any configuration. [`PasswordPolicy`]
/// contains the configured policy, whose errors have their own code.
pub struct NewPassword(pub Password);

impl ParsedText for NewPassword {
    const RULES: TextRules = TextRules {
        min: MIN_ALLOWED_MINIMUM,
        ..Password::RULES
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        Password::parse(text).map(NewPassword)
    }
}

impl Password {
    /// Returns whether both are the same password. Takes the same time for all passwords of a
    /// length.
    pub fn is_equal_to(&self, other: &Password) -> bool {
        let (one, other) = (self.normalized(), other.normalized());
        aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
    }

    /// Returns the text with the profile OpaqueString (RFC 8265 section 4.2): every space is an
    /// ASCII space, and characters are composed (NFC).
    ///
    /// A keyboard of macOS can send `ü` as two characters, and one of Windows as one.
    fn normalized(&self) -> Zeroizing<String> {
        normalize(self.0.expose_secret())
    }
}

fn normalize(text: &str) -> Zeroizing<String> {
    let with_ascii_spaces: Zeroizing<String> = Zeroizing::new(
        text.chars()
            .map(|c| if is_space(c) { ' ' } else { c })
            .collect(),
    );
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&with_ascii_spaces);
    Zeroizing::new(composed.into_owned())
}

/// Returns whether the character has the category space separator (Zs) of Unicode.
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Crockford's base32, without letters and digits that are easily confused.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of a generated password: 130 bits.
pub const GENERATED_CHARACTERS: usize = 26;

/// Generates a password from random bytes: one character, which contains five bits, per byte.
pub fn generated(random: &[u8]) -> SecretString {
    let characters = random.iter().map(|byte| ALPHABET[usize::from(byte & 31)]);
    characters.map(char::from).collect::<String>().into()
}

/// The result of the comparison of a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMatch {
    /// The password is correct.
    Match,
    /// The password is correct, but its hash has weaker parameters than new hashes.
    MatchNeedsRehash,
    /// The password is incorrect.
    NoMatch,
}

/// The computation of a hash failed, for example because the system has too little memory.
#[derive(Debug, thiserror::Error)]
#[error("computing a password hash failed")]
pub struct HashError(#[from] argon2::Error);

/// Hashes a password with the current parameters and returns the PHC string.
///
/// # Errors
/// If the system has too little memory.
pub fn hash(
    password: &Password,
    salt: &[u8; SALT_BYTES],
    buffer: &mut HashBuffer,
) -> Result<String, HashError> {
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    argon2id::derive(
        password.normalized().as_bytes(),
        salt,
        &current_params(),
        output.as_mut_slice(),
        buffer,
    )?;
    Ok(format_phc(salt, output.as_slice()))
}

/// Compares a password with a stored hash in constant time. An invalid hash matches no password.
///
/// Compares the received text first, because older hashes were computed without normalization. Then
/// compares the normalized text if it differs.
///
/// # Errors
/// If the system has too little memory for the parameters of the hash.
pub fn verify(
    password: &Password,
    phc: &str,
    buffer: &mut HashBuffer,
) -> Result<PasswordMatch, HashError> {
    let (received, normalized) = (password.0.expose_secret(), password.normalized());
    let is_normalized = received == normalized.as_str();
    match verify_text(received, phc, buffer)? {
        PasswordMatch::NoMatch if !is_normalized => verify_text(&normalized, phc, buffer),
        PasswordMatch::Match if !is_normalized => Ok(PasswordMatch::MatchNeedsRehash),
        outcome => Ok(outcome),
    }
}

fn verify_text(text: &str, phc: &str, buffer: &mut HashBuffer) -> Result<PasswordMatch, HashError> {
    let Some((params, salt, expected)) = parse_phc(phc) else {
        return Ok(PasswordMatch::NoMatch);
    };
    let mut output = Zeroizing::new(vec![0; expected.len()]);
    argon2id::derive(text.as_bytes(), salt.as_ref(), &params, &mut output, buffer)?;
    Ok(
        match aws_lc_rs::constant_time::verify_slices_are_equal(&output, expected.as_bytes()) {
            Err(_) => PasswordMatch::NoMatch,
            Ok(()) if params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES => {
                PasswordMatch::MatchNeedsRehash
            }
            Ok(()) => PasswordMatch::Match,
        },
    )
}

/// Returns a hash with the current parameters that no password matches.
///
/// A sign-in of an unknown user is compared with it, so that it takes as long as any other.
pub fn dummy_hash() -> String {
    format_phc(&[0; SALT_BYTES], &argon2id::DUMMY_OUTPUT)
}

fn format_phc(salt: &[u8; SALT_BYTES], output: &[u8]) -> String {
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&current_params()).expect("parameters of the PHC format"),
        salt: Some(Salt::new(salt).expect("a salt of 16 bytes")),
        hash: Some(Output::new(output).expect("an output of 32 bytes")),
    };
    phc.to_string()
}

fn current_params() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))
        .expect("parameters in range")
}

/// Parses a PHC string. Returns `None` if it is not Argon2id, or its cost exceeds the limits.
fn parse_phc(phc: &str) -> Option<(Params, Salt, Output)> {
    let phc = PasswordHash::new(phc).ok()?;
    let is_argon2id =
        phc.algorithm == Algorithm::Argon2id.ident() && phc.version == Some(Version::V0x13.into());
    is_argon2id.then_some(())?;
    let params = Params::try_from(&phc).ok()?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let is_within_limits =
        params.m_cost() <= MAX_MEMORY_KIB && work <= MAX_WORK_KIB && params.p_cost() <= MAX_LANES;
    is_within_limits.then_some((params, phc.salt?, phc.hash?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).ok().unwrap()
    }

    fn hash(password: &Password, salt: &[u8; SALT_BYTES], buffer: &mut HashBuffer) -> String {
        crate::password::hash(password, salt, buffer).unwrap()
    }

    fn verify(password: &Password, phc: &str, buffer: &mut HashBuffer) -> PasswordMatch {
        crate::password::verify(password, phc, buffer).unwrap()
    }

    #[test]
    fn composed_and_decomposed_text_are_the_same_password() {
        let buffer = &mut HashBuffer::default();
        // "é" as one and as two characters, and a no-break space.
        for (one, other) in [
            ("caf\u{e9}-secret", "cafe\u{301}-secret"),
            ("two\u{a0}words", "two words"),
        ] {
            let phc = hash(&password(one), &[7; SALT_BYTES], buffer);
            assert_eq!(phc, hash(&password(other), &[7; SALT_BYTES], buffer));
            assert_eq!(verify(&password(other), &phc, buffer), PasswordMatch::Match);
            assert_ne!(verify(&password(one), &phc, buffer), PasswordMatch::NoMatch);
        }
    }

    /// A hash of an older version is that of the text as received. The next sign-in replaces it.
    #[test]
    fn hash_of_unnormalized_text_matches_and_needs_rehash() {
        let (buffer, text) = (&mut HashBuffer::default(), "cafe\u{301}-secret");
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        argon2id::derive(
            text.as_bytes(),
            &[7; SALT_BYTES],
            &current_params(),
            &mut output,
            buffer,
        )
        .unwrap();
        let phc = format_phc(&[7; SALT_BYTES], &output);
        assert_eq!(
            verify(&password(text), &phc, buffer),
            PasswordMatch::MatchNeedsRehash
        );
    }

    #[test]
    fn password_is_not_trimmed_folded_or_truncated() {
        let buffer = &mut HashBuffer::default();
        let long = "ü 🗝\u{0}".repeat(20);
        let phc = hash(&password(&long), &[7; SALT_BYTES], buffer);
        assert_eq!(verify(&password(&long), &phc, buffer), PasswordMatch::Match);
        for other in [
            long.to_uppercase(),
            long[..long.len() - 1].to_owned(),
            format!("{long} "),
        ] {
            assert_eq!(
                verify(&password(&other), &phc, buffer),
                PasswordMatch::NoMatch
            );
        }
        assert!(Password::parse(&"x".repeat(257)).is_err());
    }

    #[test]
    fn passwords_that_differ_after_byte_72_do_not_match() {
        let buffer = &mut HashBuffer::default();
        let phc = hash(
            &password(&format!("{}a", "x".repeat(72))),
            &[7; SALT_BYTES],
            buffer,
        );
        assert_eq!(
            verify(&password(&format!("{}b", "x".repeat(72))), &phc, buffer),
            PasswordMatch::NoMatch
        );
    }

    #[test]
    fn hash_is_phc_string_with_current_parameters() {
        let phc = hash(
            &password("secret123"),
            &[7; SALT_BYTES],
            &mut HashBuffer::default(),
        );
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    }

    /// Hashes of the reference implementation, some of them from its test suite.
    const REFERENCE_HASHES: &[(&str, &str, PasswordMatch)] = &[
        (
            "secret123",
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg\
             $0PEVDZ1uqIGLxufK05JJOFrzcLy4Ch6Zv9zoslLB2eo",
            PasswordMatch::Match,
        ),
        (
            "secret123",
            "$argon2id$v=19$m=19459,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg\
             $k2aqx0yJ+V2TiYdQ2YT/Zb/p2ZkeG11Oro84GPLx8e/2zabvtZO2imBuF0I/COmIcb57PRIsGzEmmpICWGwUSA",
            PasswordMatch::Match,
        ),
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            PasswordMatch::Match,
        ),
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            PasswordMatch::MatchNeedsRehash,
        ),
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            PasswordMatch::MatchNeedsRehash,
        ),
        (
            "pässwörd",
            "$argon2id$v=19$m=4099,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$w/a6eUpE5IEGaWDXyjbb1P0w+qtD74SX",
            PasswordMatch::MatchNeedsRehash,
        ),
    ];

    #[test]
    fn reference_hashes_match_and_weak_ones_need_rehash() {
        use Argon2Implementation::{Argon2Rust, RustCrypto};
        for buffer in [RustCrypto, Argon2Rust].map(HashBuffer::new).each_mut() {
            for (text, phc, expected) in REFERENCE_HASHES {
                assert_eq!(verify(&password(text), phc, buffer), *expected, "{phc}");
                assert_eq!(
                    verify(&password(&format!("{text}4")), phc, buffer),
                    PasswordMatch::NoMatch,
                    "{phc}"
                );
            }
        }
    }

    #[test]
    fn dummy_hash_has_current_parameters() {
        let current = hash(
            &password("secret123"),
            &[0; SALT_BYTES],
            &mut HashBuffer::default(),
        );
        let parameters = |phc: &str| phc.rsplit_once('$').unwrap().0.to_owned();
        assert_eq!(parameters(&dummy_hash()), parameters(&current));
        assert_eq!(dummy_hash().len(), current.len());
    }

    #[test]
    fn reused_buffer_does_not_change_hash() {
        let buffer = &mut HashBuffer::default();
        let expected = hash(&password("secret123"), &[1; SALT_BYTES], buffer);
        hash(&password("something else"), &[2; SALT_BYTES], buffer);
        assert_eq!(
            hash(&password("secret123"), &[1; SALT_BYTES], buffer),
            expected
        );
    }

    #[test]
    fn invalid_hashes_match_no_password() {
        let invalid = [
            "",
            "x",
            "$argon2i$v=19$m=1024,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA",
            "$argon2id$v=19$m=1,t=1,p=1$AA$AA",
            // More than 1 GiB of memory, and a million passes.
            "$argon2id$v=19$m=1048577,t=2,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=1024,t=1000000,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            // A salt of seven bytes, which is too short.
            "$argon2id$v=19$m=1024,t=1,p=1$AAAAAAAAAA$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ];
        for phc in invalid {
            assert_eq!(
                verify(&password("secret123"), phc, &mut HashBuffer::default()),
                PasswordMatch::NoMatch
            );
        }
    }
}
