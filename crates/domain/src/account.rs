//! Users: usernames, email addresses, display names, roles, and the identity that tokens contain.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    scope::Scopes,
    text::{self, ParsedText, Rejection, TextRules},
};

/// A username: 1 to 64 characters of `[A-Za-z0-9._-]`, unique without regard to case.
///
/// It never contains `@`, so that a sign-in with a username or an email address is unambiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl ParsedText for Username {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 64,
        pattern: Some("^[A-Za-z0-9._-]+$"),
        example: "john",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        if text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            Ok(Username(text.to_owned()))
        } else {
            Err("must contain only letters, digits, `.`, `_`, and `-`".into())
        }
    }
}

/// An email address: ASCII, at most 254 characters, unique without regard to case.
///
/// Only ASCII is allowed, because case folding maps other letters to ASCII (the Kelvin sign to
/// `k`). Commas, quotes, and brackets are rejected, because they can add a second recipient
/// (CVE-2023-7028).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl ParsedText for EmailAddress {
    const RULES: TextRules = TextRules {
        format: Some("email"),
        min: 3,
        max: 254,
        pattern: None,
        example: "john@example.com",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim_matches(' ');
        // The format error below is more helpful than one about the minimum length.
        text::length(
            text,
            TextRules {
                min: 0,
                ..Self::RULES
            },
        )?;
        let well_formed = text
            .split_once('@')
            .is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        if well_formed {
            Ok(EmailAddress(text.to_owned()))
        } else {
            Err("must be an email address such as `john@example.com`".into())
        }
    }
}

/// Returns whether the local part is a dot-string (RFC 5321 section 4.1.2), not a quoted string.
fn is_local_part(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    local.len() <= 64 && local.split('.').all(is_atom)
}

/// Returns whether the domain consists of at least two valid labels (RFC 1035 section 2.3.1).
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

/// A display name: one line of 1 to 200 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl ParsedText for DisplayName {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 200,
        pattern: text::LINE,
        example: "John Doe",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(DisplayName(text.to_owned()))
    }
}

/// The username or email address that a sign-in contains.
///
/// The rules are lenient, because an invalid name must get the same response as an unknown one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInName(String);

impl ParsedText for SignInName {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 254,
        pattern: text::LINE,
        example: "john",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(SignInName(text.trim_matches(' ').to_owned()))
    }
}

macro_rules! impl_as_str {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns the validated text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
    )*};
}
impl_as_str!(Username, EmailAddress, DisplayName, SignInName, NamePrefix);

/// The prefix of a username or an email address, for a search. An empty prefix matches all users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePrefix(String);

impl ParsedText for NamePrefix {
    const RULES: TextRules = TextRules {
        format: None,
        min: 0,
        max: 254,
        pattern: text::LINE,
        example: "john",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(NamePrefix(text.trim_matches(' ').to_owned()))
    }
}

/// The role of a user, which determines the available scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Access to the user's own data.
    User,
    /// Administration of all users and OAuth clients.
    Admin,
}

impl Role {
    /// Returns the value that PostgreSQL and the API contain.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the scopes that a sign-in of a user with this role can grant.
    pub const fn scopes(self) -> Scopes {
        match self {
            Role::User => Scopes::OF_USERS,
            Role::Admin => Scopes::OF_ADMINS,
        }
    }
}

impl ParsedText for Role {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 16,
        pattern: Some("^(user|admin)$"),
        example: "user",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text.parse().map_err(|_| "must be `user` or `admin`".into())
    }
}

/// A user without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The ID of the user, `sub` in tokens.
    pub id: Uuid,
    /// The data that tokens contain.
    pub identity: Identity,
    /// The time of creation.
    pub created_at: OffsetDateTime,
}

/// The data of a user that tokens contain, so that services do not have to request it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Incremented with every change. Of two copies, the one with the higher version is current.
    pub version: i64,
    /// The role of the user.
    pub role: Role,
    /// The username, if the user has one.
    pub username: Option<String>,
    /// The email address, if the user has one.
    pub email: Option<String>,
    /// Whether the email address is verified.
    pub email_verified: bool,
    /// The display name, if the user has one.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usernames_never_contain_at_sign() {
        assert!(Username::parse("John.Doe_1-2").is_ok());
        for invalid in ["", "a@b", "a b", "ä", &"x".repeat(65)] {
            assert!(Username::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn email_address_is_one_ascii_recipient() {
        for valid in [
            "john@example.com",
            " john+tag@mail.example.co ",
            "o'brien@example.org",
        ] {
            assert!(EmailAddress::parse(valid).is_ok(), "{valid:?}");
        }
        let invalid = [
            "john",
            "john@",
            "@example.com",
            "john@localhost",
            "a@b@example.com",
            "a,b@example.com",
            "a@example.com,b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "\"a b\"@example.com",
            "a.@example.com",
            "\u{212a}@example.com",
            "a@-example.com",
            "a@exa_mple.com",
            "<a@example.com>",
        ];
        for invalid in invalid {
            assert!(EmailAddress::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn accepted_email_has_one_at_and_no_separator(text in "\\PC{0,40}") {
            if let Ok(email) = EmailAddress::parse(&text) {
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
                prop_assert!(
                    email
                        .as_str()
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b",;<>\"()".contains(&b))
                );
            }
        }

        #[test]
        fn username_error_never_contains_input(text in "[^a-zA-Z0-9`@., ]{5,80}") {
            if let Err(reason) = Username::parse(&text) {
                prop_assert!(!reason.contains(&text));
            }
        }
    }
}
