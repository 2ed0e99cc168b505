//! Passwords: what is accepted, and how they are hashed (Argon2id, RFC 9106, in PHC form).

mod argon2id;

use std::{collections::HashSet, sync::LazyLock};

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use zeroize::Zeroizing;

use crate::text::{ParsedText, Rejection, TextRules};

pub use crate::password::argon2id::{HashBuffer, simd_self_test_passed};

/// 19 MiB, the lower of the two settings that OWASP's cheat sheet on password storage puts first.
const MEMORY_KIB: u32 = 19 * 1024;

/// Two passes go with 19 MiB there.
const PASSES: u32 = 2;

/// A hash from elsewhere that asks for more is unreadable: one sign-in must not take the machine's
/// memory,
const MAX_MEMORY_KIB: u32 = 1024 * 1024;

/// nor a thread for minutes: sixteen passes over as much, or more over less.
const MAX_WORK_KIB: u64 = 16 * MAX_MEMORY_KIB as u64;

/// Lanes are worked at one after the other here; nobody needs more.
const MAX_LANES: u32 = 64;

/// One lane: a request is hashed by one thread.
const LANES: u32 = 1;

/// Bytes of a salt (RFC 9106 section 3.1 recommends 16).
pub const SALT_BYTES: usize = 16;

/// The longest password, in characters: enough for any sentence, and a bound on what is hashed
/// (ASVS 5.0, 6.2.9).
const MAX_CHARACTERS: usize = 256;

/// The shortest password that any setting may allow (NIST SP 800-63B-4 section 3.1.1).
pub const MIN_ALLOWED_MINIMUM: usize = 8;

/// Passwords of eight or more characters among the 10,000 most common. Shorter ones are refused by
/// their length.
static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("common_passwords.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect()
});

/// A password as it was typed: never trimmed, never folded, never cut. It has neither `Debug` nor
/// `Display`.
pub struct Password(Zeroizing<String>);

impl ParsedText for Password {
    const RULES: TextRules = TextRules {
        format: Some("password"),
        min: 1,
        max: MAX_CHARACTERS,
        pattern: None,
        example: "secret123",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        crate::text::length(text, Self::RULES)?;
        Ok(Password(Zeroizing::new(text.to_owned())))
    }
}

/// A password that somebody chooses. Whether it may be chosen says [`Password::check`], with a code
/// of its own; the document tells what every setting demands.
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
    /// Whether the password may be chosen; if not, why.
    pub fn check(&self, minimum: usize) -> Result<(), Rejection> {
        if self.0.chars().count() < minimum {
            return Err(format!("The password must have at least {minimum} characters.").into());
        }
        if COMMON.contains(self.0.to_lowercase().as_str()) {
            return Err(
                "The password is among the 10,000 most common passwords. Choose another one."
                    .into(),
            );
        }
        Ok(())
    }
}

/// Of 32 letters and digits, none of which looks like another (Crockford's base32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The characters of a password that nobody chose: 130 bits.
pub const GENERATED_CHARACTERS: usize = 26;

/// A password that nobody chose, to be shown once: a character of five bits for each random byte.
pub fn generated(random: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(
        random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
            .collect(),
    )
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMatch {
    /// It is the password.
    Match,
    /// It is the password, but its hash was made with weaker parameters than today's.
    MatchNeedsRehash,
    /// It is not the password.
    NoMatch,
}

/// A hash that could not be computed, because the system has too little memory for it.
#[derive(Debug, thiserror::Error)]
#[error("computing a password hash failed")]
pub struct HashError(#[from] argon2::Error);

/// Hashes with today's parameters.
///
/// # Errors
/// If the system has too little memory.
pub fn hash(
    password: &Password,
    salt: &[u8; SALT_BYTES],
    memory: &mut HashBuffer,
) -> Result<String, HashError> {
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    argon2id::derive(
        password.0.as_bytes(),
        salt,
        &policy(),
        output.as_mut_slice(),
        memory,
    )?;
    Ok(in_phc_form(salt, output.as_slice()))
}

/// Compares in constant time. An unreadable hash is nobody's password.
///
/// # Errors
/// If the system has too little memory for the parameters of the hash.
pub fn verify(
    password: &Password,
    phc: &str,
    memory: &mut HashBuffer,
) -> Result<PasswordMatch, HashError> {
    let Some((params, salt, expected)) = read(phc) else {
        return Ok(PasswordMatch::NoMatch);
    };
    let mut output = Zeroizing::new(vec![0; expected.len()]);
    argon2id::derive(
        password.0.as_bytes(),
        salt.as_ref(),
        &params,
        &mut output,
        memory,
    )?;
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

/// A hash that no password has, in today's form: unknown users are compared with it, so that they
/// cost the same.
pub fn dummy_hash() -> String {
    in_phc_form(&[0; SALT_BYTES], &argon2id::DUMMY_OUTPUT)
}

fn in_phc_form(salt: &[u8; SALT_BYTES], output: &[u8]) -> String {
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&policy()).expect("the constants above fit the PHC form"),
        salt: Some(Salt::new(salt).expect("16 bytes are a salt")),
        hash: Some(Output::new(output).expect("32 bytes are an output")),
    };
    phc.to_string()
}

fn policy() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))
        .expect("the constants above are in range")
}

fn read(phc: &str) -> Option<(Params, Salt, Output)> {
    let phc = PasswordHash::new(phc).ok()?;
    let argon2id =
        phc.algorithm == Algorithm::Argon2id.ident() && phc.version == Some(Version::V0x13.into());
    argon2id.then_some(())?;
    let params = Params::try_from(&phc).ok()?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    let bounded =
        params.m_cost() <= MAX_MEMORY_KIB && work <= MAX_WORK_KIB && params.p_cost() <= MAX_LANES;
    bounded.then_some((params, phc.salt?, phc.hash?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).ok().unwrap()
    }

    fn hash(password: &Password, salt: &[u8; SALT_BYTES], memory: &mut HashBuffer) -> String {
        crate::password::hash(password, salt, memory).unwrap()
    }

    fn verify(password: &Password, phc: &str, memory: &mut HashBuffer) -> PasswordMatch {
        crate::password::verify(password, phc, memory).unwrap()
    }

    #[test]
    fn the_example_of_the_readme_is_no_common_password() {
        assert!(password("secret123").check(8).is_ok());
    }

    #[test]
    fn common_and_short_passwords_are_refused_in_any_case() {
        for bad in ["password", "PassWord", "12345678", "qwertyuiop", "1234567"] {
            assert!(password(bad).check(8).is_err(), "{bad}");
        }
        assert!(COMMON.len() > 3_000);
    }

    #[test]
    fn any_characters_are_welcome_and_none_are_cut_or_folded() {
        let memory = &mut HashBuffer::default();
        let long = "ü 🗝\u{0}".repeat(20);
        let phc = hash(&password(&long), &[7; SALT_BYTES], memory);
        assert_eq!(verify(&password(&long), &phc, memory), PasswordMatch::Match);
        for other in [
            long.to_uppercase(),
            long[..long.len() - 1].to_owned(),
            format!("{long} "),
        ] {
            assert_eq!(
                verify(&password(&other), &phc, memory),
                PasswordMatch::NoMatch
            );
        }
        assert!(Password::parse(&"x".repeat(257)).is_err());
    }

    #[test]
    fn passwords_that_differ_after_byte_72_differ() {
        let memory = &mut HashBuffer::default();
        let phc = hash(
            &password(&format!("{}a", "x".repeat(72))),
            &[7; SALT_BYTES],
            memory,
        );
        assert_eq!(
            verify(&password(&format!("{}b", "x".repeat(72))), &phc, memory),
            PasswordMatch::NoMatch
        );
    }

    #[test]
    fn hashes_are_in_phc_form_with_the_parameters_of_the_policy() {
        let phc = hash(
            &password("secret123"),
            &[7; SALT_BYTES],
            &mut HashBuffer::default(),
        );
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    }

    /// By the reference implementation, some of them from its own tests.
    const FROM_ELSEWHERE: &[(&str, &str, PasswordMatch)] = &[
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
    fn hashes_from_elsewhere_are_understood_and_weaker_ones_want_to_be_raised() {
        let memory = &mut HashBuffer::default();
        for (text, phc, verdict) in FROM_ELSEWHERE {
            assert_eq!(verify(&password(text), phc, memory), *verdict, "{phc}");
            assert_eq!(
                verify(&password(&format!("{text}4")), phc, memory),
                PasswordMatch::NoMatch,
                "{phc}"
            );
        }
    }

    #[test]
    fn nobodys_hash_has_todays_form() {
        let today = hash(
            &password("secret123"),
            &[0; SALT_BYTES],
            &mut HashBuffer::default(),
        );
        let parameters = |phc: &str| phc.rsplit_once('$').unwrap().0.to_owned();
        assert_eq!(parameters(&dummy_hash()), parameters(&today));
        assert_eq!(dummy_hash().len(), today.len());
    }

    #[test]
    fn memory_that_was_used_before_changes_nothing() {
        let memory = &mut HashBuffer::default();
        let first = hash(&password("secret123"), &[1; SALT_BYTES], memory);
        hash(&password("something else"), &[2; SALT_BYTES], memory);
        assert_eq!(
            hash(&password("secret123"), &[1; SALT_BYTES], memory),
            first
        );
    }

    #[test]
    fn unreadable_hashes_are_nobodys() {
        let unreadable = [
            "",
            "x",
            "$argon2i$v=19$m=1024,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA",
            "$argon2id$v=19$m=1,t=1,p=1$AA$AA",
            // A gigabyte and more, and a million passes.
            "$argon2id$v=19$m=1048577,t=2,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=1024,t=1000000,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            // A salt of seven bytes.
            "$argon2id$v=19$m=1024,t=1,p=1$AAAAAAAAAA$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ];
        for phc in unreadable {
            assert_eq!(
                verify(&password("secret123"), phc, &mut HashBuffer::default()),
                PasswordMatch::NoMatch
            );
        }
    }
}
