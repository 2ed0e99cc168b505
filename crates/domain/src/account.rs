//! Users: usernames, email addresses, display names, roles, and the identity that tokens contain.

mod username;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use time::OffsetDateTime;
use uuid::Uuid;

pub use crate::account::username::{RESERVED_USERNAMES, ReservedUsernames, Username};

use crate::{
    group::GroupNames,
    scope::Scopes,
    text::{self, ParsedText, Rejection, TextRules},
};

/// An email address: ASCII, at most 254 characters, unique without regard to case.
///
/// An internationalized domain is converted to ASCII (RFC 5891), so that it has one form.
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
        let text = &ascii_domain(text.trim_matches(' '));
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
            Ok(EmailAddress(text.clone().into_owned()))
        } else {
            Err("must be an email address such as `john@example.com`".into())
        }
    }
}

/// Returns the address with an internationalized domain in ASCII, and any other text unchanged.
fn ascii_domain(text: &str) -> Cow<'_, str> {
    let Some((local, domain)) = text
        .rsplit_once('@')
        .filter(|(_, domain)| !domain.is_ascii())
    else {
        return Cow::Borrowed(text);
    };
    match idna::domain_to_ascii_strict(domain) {
        Ok(domain) => Cow::Owned(format!("{local}@{domain}")),
        Err(_) => Cow::Borrowed(text),
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
        Ok(SignInName(
            ascii_domain(text.trim_matches(' ')).into_owned(),
        ))
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
impl_as_str!(EmailAddress, DisplayName, SignInName, NamePrefix);

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
    /// Whether an administrator or the operator has set the password, so that the user should
    /// change it.
    pub password_change_required: bool,
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
    /// The groups of the user. Data of a server without groups lacks them.
    #[serde(default)]
    pub groups: GroupNames,
}

/// Returns the names and the email address of a new user, which a password must not resemble.
pub fn identifiers<'a>(
    username: Option<&'a Username>,
    email: Option<&'a EmailAddress>,
    name: Option<&'a DisplayName>,
) -> impl Iterator<Item = &'a str> {
    let username = username.map(Username::as_str);
    let (email, name) = (
        email.map(EmailAddress::as_str),
        name.map(DisplayName::as_str),
    );
    [username, email, name].into_iter().flatten()
}

impl Identity {
    /// Returns the names and the email address, which a password must not resemble.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        [&self.username, &self.email, &self.name]
            .into_iter()
            .filter_map(Option::as_deref)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn internationalized_domain_has_one_form() {
        for text in ["john@müller.de", "john@MÜLLER.de", "john@mu\u{308}ller.de"] {
            let email = EmailAddress::parse(text).unwrap();
            assert_eq!(email.as_str(), "john@xn--mller-kva.de");
            let name = SignInName::parse(text).unwrap();
            assert_eq!(name.as_str(), "john@xn--mller-kva.de");
        }
        assert!(EmailAddress::parse("jöhn@müller.de").is_err());
        assert!(EmailAddress::parse("john@\u{200d}.de").is_err());
        assert_eq!(SignInName::parse("jöhn").unwrap().as_str(), "jöhn");
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
    }
}
