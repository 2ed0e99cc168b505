//! The policy for new passwords.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use zeroize::Zeroizing;

use crate::password::{Password, normalize};

/// The passwords of at least eight characters among the 10,000 most common ones.
///
/// Shorter passwords are rejected in any case.
static COMMON_PASSWORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("common_passwords.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect()
});

/// Further passwords that are rejected, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordList(Arc<HashSet<Box<str>>>);

impl PasswordList {
    /// Parses a list with one password per line.
    pub fn from_lines(text: &str) -> PasswordList {
        let lines = text.lines().map(|line| line.trim_end_matches('\r'));
        let passwords = lines.filter(|line| !line.is_empty());
        let lower_case: HashSet<Box<str>> = passwords
            .map(|line| normalize(line).to_lowercase().into())
            .collect();
        PasswordList(Arc::new(lower_case))
    }
}

/// The policy for new passwords.
#[derive(Debug, Clone)]
pub struct PasswordPolicy {
    minimum: usize,
    list: PasswordList,
}

/// Why a new password is rejected. The text is a sentence for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// The password has fewer characters than this minimum.
    #[error("The password must have at least {0} characters.")]
    TooShort(usize),
    /// The password is in the built-in list.
    #[error("The password is among the 10,000 most common passwords. Choose another one.")]
    Common,
    /// The password is in the list of the operator.
    #[error("The password is in a list of known passwords. Choose another one.")]
    Listed,
    /// The password is a variant of the username, the name, or the email address.
    #[error(
        "The password is similar to the username, name, or email address of the user. Choose \
         another one."
    )]
    SimilarToIdentifier,
    /// An administrator or the operator has set the same password, so another person knows it.
    #[error(
        "Choose a password that differs from the current one, because another person has set it."
    )]
    Unchanged,
}

impl PasswordPolicy {
    /// Creates a policy from the minimum length in characters, and a list in addition to the
    /// built-in one.
    pub fn new(minimum: usize, list: PasswordList) -> PasswordPolicy {
        PasswordPolicy { minimum, list }
    }

    /// Returns the minimum length in characters.
    pub fn minimum(&self) -> usize {
        self.minimum
    }

    /// Checks a new password. `identifiers` are the names and the email address of the user.
    ///
    /// # Errors
    /// If the password is too short, too common, or a variant of an identifier.
    pub fn check<'a>(
        &self,
        password: &Password,
        identifiers: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), WeakPassword> {
        let text = password.normalized();
        if text.chars().count() < self.minimum {
            return Err(WeakPassword::TooShort(self.minimum));
        }
        let lower = Zeroizing::new(text.to_lowercase());
        if COMMON_PASSWORDS.contains(lower.as_str()) {
            return Err(WeakPassword::Common);
        }
        if self.list.0.contains(lower.as_str()) {
            return Err(WeakPassword::Listed);
        }
        if identifiers
            .into_iter()
            .any(|identifier| is_variant(&lower, &normalize(identifier).to_lowercase()))
        {
            return Err(WeakPassword::SimilarToIdentifier);
        }
        Ok(())
    }
}

/// Returns whether the password is a simple variant of the identifier, or of its local part if the
/// identifier is an email address: with digits and symbols around it, with other separators, with
/// digits instead of letters, reversed, or repeated. Both texts are in lower case.
fn is_variant(password: &str, identifier: &str) -> bool {
    let local_part = identifier.split_once('@').map(|(local, _)| local);
    let is_added = |c: char| !c.is_alphabetic();
    let core = |text: &str| skeleton(text.trim_matches(is_added));
    let candidates = [
        skeleton(password),
        skeleton(password.trim_start_matches(is_added)),
        skeleton(password.trim_end_matches(is_added)),
        core(password),
    ];
    [Some(identifier), local_part]
        .into_iter()
        .flatten()
        .flat_map(|identifier| [skeleton(identifier), core(identifier)])
        .filter(|identifier| !identifier.is_empty())
        .any(|identifier| {
            let reversed = Zeroizing::new(identifier.chars().rev().collect::<String>());
            candidates.iter().any(|candidate| {
                is_repetition(candidate, &identifier) || is_repetition(candidate, &reversed)
            })
        })
}

/// Returns whether the text consists of one or more copies of the part.
fn is_repetition(text: &str, part: &str) -> bool {
    !text.is_empty() && text.replace(part, "").is_empty()
}

/// Returns the letters and digits of a text, with digits and symbols replaced by the letters for
/// which they usually stand.
fn skeleton(text: &str) -> Zeroizing<String> {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    Zeroizing::new(
        text.chars()
            .map(letter)
            .filter(|c| c.is_alphanumeric())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ParsedText;

    fn check(text: &str, identifiers: &[&str]) -> Result<(), WeakPassword> {
        let list =
            PasswordList::from_lines("Correct-Horse\r\n\nbattery staple\ncafe\u{301}-noir\n");
        let policy = PasswordPolicy::new(8, list);
        let password = Password::parse(text).ok().unwrap();
        policy.check(&password, identifiers.iter().copied())
    }

    #[test]
    fn example_password_of_documentation_is_accepted() {
        assert!(check("secret123", &["john", "john@example.com", "John Doe"]).is_ok());
    }

    #[test]
    fn common_listed_and_short_passwords_are_rejected_in_any_case() {
        for rejected in [
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "1234567",
            "correct-HORSE",
            "battery staple",
            "caf\u{e9}-noir",
            "cafe\u{301}-noir",
        ] {
            assert!(check(rejected, &[]).is_err(), "{rejected}");
        }
        assert!(COMMON_PASSWORDS.len() > 3_000);
    }

    /// A character that is entered as two characters counts once.
    #[test]
    fn length_is_that_of_normalized_text() {
        assert!(check("pa\u{308}sswo\u{308}rt", &[]).is_ok());
        assert!(check("a\u{308}bcdefg", &[]).is_err());
    }

    #[test]
    fn variants_of_identifiers_are_rejected() {
        let identifiers = ["john.doe", "j.doe@example.com", "Jöhn Döe"];
        for rejected in [
            "john.doe",
            "JohnDoe1990",
            "john_doe!",
            "J0hn-D0e",
            "eod.nhoj",
            "johndoejohndoe",
            "j.doe@example.com",
            "J.Doe@example.com1",
            "!!jdoe!!",
            "jdoejdoe",
            "jöhndöe1",
            "2024john.d0e",
        ] {
            assert!(check(rejected, &identifiers).is_err(), "{rejected}");
        }
        for accepted in [
            "john.doe is fine",
            "example.com",
            "doe-john-x7",
            "secret123",
        ] {
            assert!(check(accepted, &identifiers).is_ok(), "{accepted}");
        }
        assert!(check("jjjjjjjj", &["j"]).is_err());
        assert!(check("jo\u{308}hndoe1", &["J\u{f6}hn Doe"]).is_err());
        assert!(check("j\u{f6}hndoe1", &["Jo\u{308}hn Doe"]).is_err());
        assert!(check("secret123", &["", "1", "-"]).is_ok());
    }
}
