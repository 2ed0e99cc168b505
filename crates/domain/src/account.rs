//! Who somebody is: user names, addresses, display names, roles, and the identity that goes into
//! tokens.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    scope::Scopes,
    text::{self, ParsedText, Rejection, TextRules},
};

/// A user name: `[A-Za-z0-9._-]`, kept as typed, unique and matched without regard to case.
///
/// It never holds an `@`, so that a sign-in by "user name or address" is never ambiguous.
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

/// An e-mail address: ASCII, one recipient, trimmed, unique without regard to case.
///
/// ASCII alone, because case folding of other letters lets look-alikes through (the Kelvin sign
/// folds to `k`), and with a narrow set of characters, because commas, quotes and brackets smuggle
/// a second recipient (GitLab CVE-2023-7028).
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
        // Too short means not an address, which is the more helpful reason.
        text::length(
            text,
            TextRules {
                min: 0,
                ..Self::RULES
            },
        )?;
        let well_formed = text
            .split_once('@')
            .is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
        if well_formed {
            Ok(EmailAddress(text.to_owned()))
        } else {
            Err("must be an email address such as `john@example.com`".into())
        }
    }
}

/// RFC 5321 section 4.1.2, dot-string only: no quoted local parts.
fn is_local(local: &str) -> bool {
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    local.len() <= 64 && local.split('.').all(atom)
}

/// RFC 1035 section 2.3.1: labels of letters, digits and inner hyphens; at least two of them.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    domain.contains('.') && domain.split('.').all(label)
}

/// What somebody wants to be called: one line of anything printable.
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

/// What is typed into a sign-in: a user name or an address. Nothing is refused here but what cannot
/// be either, because the answer to a wrong one is the same as to an unknown one.
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

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The text as it was typed.
            pub fn as_str(&self) -> &str { &self.0 }
        }
    )*};
}
as_text!(Username, EmailAddress, DisplayName, SignInName, NamePrefix);

/// The beginning of a user name or an address, to look somebody up. Nothing at all begins
/// everything.
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

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its own data.
    User,
    /// Everybody's.
    Admin,
}

impl Role {
    /// The role as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Role> {
        [Role::User, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == name)
    }

    /// The scopes of a session that this account signs in to.
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
        Role::from_name(text).ok_or_else(|| "must be `user` or `admin`".into())
    }
}

/// An account, without what proves that somebody owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The id, `sub` in tokens.
    pub id: Uuid,
    /// What goes into tokens.
    pub identity: Identity,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// The part of an account that goes into tokens, so that services behind the gateway need not ask
/// for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Raised with every change; of two stored identities the larger version wins.
    pub version: i64,
    /// What the account may do.
    pub role: Role,
    /// The user name, if there is one.
    pub username: Option<String>,
    /// The address, if there is one.
    pub email: Option<String>,
    /// Whether somebody proved to read mail at that address.
    pub email_verified: bool,
    /// The display name, if there is one.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_names_never_look_like_addresses() {
        assert!(Username::parse("John.Doe_1-2").is_ok());
        for bad in ["", "a@b", "a b", "ä", &"x".repeat(65)] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_name_one_ascii_recipient() {
        for good in [
            "john@example.com",
            " john+tag@mail.example.co ",
            "o'brien@example.org",
        ] {
            assert!(EmailAddress::parse(good).is_ok(), "{good:?}");
        }
        let bad = [
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
        for bad in bad {
            assert!(EmailAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_address_is_one_line_with_one_at(text in "\\PC{0,40}") {
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
        fn reasons_never_repeat_what_was_typed(text in "[^a-zA-Z0-9`@., ]{5,80}") {
            if let Err(reason) = Username::parse(&text) {
                prop_assert!(!reason.contains(&text));
            }
        }
    }
}
