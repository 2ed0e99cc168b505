//! Passwords: what is accepted, and how they are hashed (Argon2id, RFC 9106, in PHC form).

use std::{collections::HashSet, sync::LazyLock};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use zeroize::Zeroizing;

use super::text::{Parsed, Reason, Shape};

/// 19 MiB, the lower of the two settings that OWASP's cheat sheet on password storage puts first.
const MEMORY_KIB: u32 = 19 * 1024;

/// Two passes go with 19 MiB there.
const PASSES: u32 = 2;

/// One lane: a request is hashed by one thread.
const LANES: u32 = 1;

/// Bytes of a salt (RFC 9106 section 3.1 recommends 16).
pub const SALT_BYTES: usize = 16;

/// The longest password, in characters: enough for any sentence, and a bound on what is hashed (ASVS 5.0, 6.2.9).
const MAX_CHARACTERS: usize = 256;

/// The shortest password that any setting may allow (NIST SP 800-63B-4 section 3.1.1).
pub const SHORTEST_MINIMUM: usize = 8;

/// Passwords of eight or more characters among the 10,000 most common. Shorter ones are refused by their length.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// A password as it was typed: never trimmed, never folded, never cut. It has neither `Debug` nor `Display`.
pub struct Password(Zeroizing<String>);

impl Parsed for Password {
    const SHAPE: Shape =
        Shape { format: Some("password"), min: 1, max: MAX_CHARACTERS, pattern: None, example: "secret123" };

    fn parse(text: &str) -> Result<Self, Reason> {
        super::text::length(text, Self::SHAPE)?;
        Ok(Password(Zeroizing::new(text.to_owned())))
    }
}

impl Password {
    /// Whether the password may be chosen; if not, why.
    pub fn check(&self, minimum: usize) -> Result<(), Reason> {
        if self.0.chars().count() < minimum {
            return Err(format!("The password must have at least {minimum} characters.").into());
        }
        if COMMON.contains(self.0.to_lowercase().as_str()) {
            return Err("The password is among the 10,000 most common ones; choose another.".into());
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
    Zeroizing::new(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right,
    /// It is the password, but its hash was made with weaker parameters than today's.
    RightButWeaklyHashed,
    /// It is not the password.
    Wrong,
}

/// The memory of one hash, kept by each hashing thread: 19 MiB that need not be mapped and cleared again.
pub struct Memory(Vec<Block>);

impl Default for Memory {
    fn default() -> Self {
        Memory(vec![Block::new(); policy().block_count()])
    }
}

/// Hashes with today's parameters.
pub fn hash(password: &Password, salt: &[u8; SALT_BYTES], memory: &mut Memory) -> String {
    let params = policy();
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    fill(password, &params, salt, output.as_mut_slice(), memory);
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).expect("the constants above fit the PHC form"),
        salt: Some(Salt::new(salt).expect("16 bytes are a salt")),
        hash: Some(Output::new(output.as_slice()).expect("32 bytes are an output")),
    };
    phc.to_string()
}

/// Compares in constant time. An unreadable hash is nobody's password.
pub fn verify(password: &Password, phc: &str, memory: &mut Memory) -> Verdict {
    let Some((params, salt, expected)) = read(phc) else { return Verdict::Wrong };
    let mut output = Zeroizing::new(vec![0; expected.len()]);
    fill(password, &params, salt.as_ref(), &mut output, memory);
    match aws_lc_rs::constant_time::verify_slices_are_equal(&output, expected.as_bytes()) {
        Err(_) => Verdict::Wrong,
        Ok(()) if params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES => Verdict::RightButWeaklyHashed,
        Ok(()) => Verdict::Right,
    }
}

/// A hash that no password has, in today's form: unknown users are compared with it, so that they cost the same.
pub fn nobody() -> String {
    hash(&Password(Zeroizing::new(String::new())), &[0; SALT_BYTES], &mut Memory::default())
}

fn policy() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN)).expect("the constants above are in range")
}

fn read(phc: &str) -> Option<(Params, Salt, Output)> {
    let phc = PasswordHash::new(phc).ok()?;
    let argon2id = phc.algorithm == Algorithm::Argon2id.ident() && phc.version == Some(Version::V0x13.into());
    argon2id.then_some(())?;
    Some((Params::try_from(&phc).ok()?, phc.salt?, phc.hash?))
}

fn fill(password: &Password, params: &Params, salt: &[u8], output: &mut [u8], memory: &mut Memory) {
    memory.0.resize(params.block_count().max(memory.0.len()), Block::new());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.0.as_bytes(), salt, output, &mut memory.0)
        .expect("lengths are bounded by the types, and the memory fits the parameters");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).ok().unwrap()
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
        let memory = &mut Memory::default();
        let long = "ü 🗝\u{0}".repeat(20);
        let phc = hash(&password(&long), &[7; SALT_BYTES], memory);
        assert_eq!(verify(&password(&long), &phc, memory), Verdict::Right);
        for other in [long.to_uppercase(), long[..long.len() - 1].to_owned(), format!("{long} ")] {
            assert_eq!(verify(&password(&other), &phc, memory), Verdict::Wrong);
        }
        assert!(Password::parse(&"x".repeat(257)).is_err());
    }

    #[test]
    fn passwords_that_differ_after_byte_72_differ() {
        let memory = &mut Memory::default();
        let phc = hash(&password(&format!("{}a", "x".repeat(72))), &[7; SALT_BYTES], memory);
        assert_eq!(verify(&password(&format!("{}b", "x".repeat(72))), &phc, memory), Verdict::Wrong);
    }

    #[test]
    fn hashes_are_in_phc_form_with_the_parameters_of_the_policy() {
        let phc = hash(&password("secret123"), &[7; SALT_BYTES], &mut Memory::default());
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    }

    #[test]
    fn a_weaker_hash_is_right_but_wants_to_be_raised() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
        let mut output = [0; 32];
        weak.hash_password_into(b"secret123", b"0123456789abcdef", &mut output).unwrap();
        let encoded = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, bytes);
        let phc = format!("$argon2id$v=19$m=1024,t=1,p=1${}${}", encoded(b"0123456789abcdef"), encoded(&output));
        let memory = &mut Memory::default();
        assert_eq!(verify(&password("secret123"), &phc, memory), Verdict::RightButWeaklyHashed);
        assert_eq!(verify(&password("secret124"), &phc, memory), Verdict::Wrong);
    }

    #[test]
    fn memory_that_was_used_before_changes_nothing() {
        let memory = &mut Memory::default();
        let first = hash(&password("secret123"), &[1; SALT_BYTES], memory);
        hash(&password("something else"), &[2; SALT_BYTES], memory);
        assert_eq!(hash(&password("secret123"), &[1; SALT_BYTES], memory), first);
    }

    #[test]
    fn unreadable_hashes_are_nobodys() {
        for phc in ["", "x", "$argon2i$v=19$m=1024,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA", "$argon2id$v=19$m=1,t=1,p=1$AA$AA"]
        {
            assert_eq!(verify(&password("secret123"), phc, &mut Memory::default()), Verdict::Wrong);
        }
    }
}
