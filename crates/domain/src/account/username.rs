//! Usernames, and the ones that are reserved.

use uuid::Uuid;

use crate::text::{self, ParsedText, Rejection, TextRules};

/// A username: 1 to 64 characters of `[A-Za-z0-9._-]`, unique without regard to case.
///
/// It begins and ends with a letter or digit, so that it is never a path segment such as `..`, and
/// never looks like an option of a command. It never contains `@`, so that a sign-in with a
/// username or an email address is unambiguous. It is never a UUID, so that it can't be mistaken
/// for a user ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Returns the validated text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ParsedText for Username {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 64,
        pattern: Some("^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"),
        example: "john",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !text.bytes().all(is_allowed) {
            return Err("must contain only letters, digits, `.`, `_`, and `-`".into());
        }
        if text.starts_with(is_separator) || text.ends_with(is_separator) {
            return Err("must begin and end with a letter or digit".into());
        }
        if Uuid::try_parse(text).is_ok() {
            return Err("must not be a UUID".into());
        }
        Ok(Username(text.to_owned()))
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '-')
}

/// The built-in reserved usernames: names of roles, of mailboxes (RFC 2142), and of accounts that
/// systems treat specially. In lower case and without separators.
pub const RESERVED_USERNAMES: [&str; 48] = [
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "admins",
    "all",
    "anonymous",
    "api",
    "auth",
    "billing",
    "bot",
    "contact",
    "daemon",
    "everyone",
    "guest",
    "help",
    "helpdesk",
    "hostmaster",
    "info",
    "latchkey",
    "localhost",
    "mail",
    "mailerdaemon",
    "me",
    "moderator",
    "none",
    "noreply",
    "null",
    "official",
    "operator",
    "postmaster",
    "privacy",
    "public",
    "root",
    "sales",
    "security",
    "self",
    "service",
    "staff",
    "superuser",
    "support",
    "sysadmin",
    "system",
    "team",
    "undefined",
    "webmaster",
    "www",
];

/// Usernames that users can't choose. Administrators and the operator can assign them.
///
/// Case and separators are ignored: `ad-min` is reserved, because `admin` is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservedUsernames {
    /// Further usernames, in lower case and without separators.
    additional: Vec<String>,
}

impl ReservedUsernames {
    /// Returns the built-in usernames and these.
    pub fn with_additional<'a>(
        usernames: impl IntoIterator<Item = &'a Username>,
    ) -> ReservedUsernames {
        ReservedUsernames {
            additional: usernames.into_iter().map(normalized).collect(),
        }
    }

    /// Returns whether the username is reserved.
    pub fn contains(&self, username: &Username) -> bool {
        let name = normalized(username);
        RESERVED_USERNAMES.contains(&name.as_str()) || self.additional.contains(&name)
    }
}

fn normalized(username: &Username) -> String {
    username
        .as_str()
        .chars()
        .filter(|c| !is_separator(*c))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::matching;

    fn username(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn username_consists_of_letters_digits_and_inner_separators() {
        for valid in ["j", "7", "John.Doe_1-2", "a--b", &"x".repeat(64)] {
            assert!(Username::parse(valid).is_ok(), "{valid:?}");
        }
        let invalid = [
            "", "a@b", "a b", "ä", "a/b", "a\n", ".", "..", "-", "-a", "a-", ".a", "a.", "_a", "a_",
        ];
        for invalid in invalid.into_iter().chain([x(65).as_str()]) {
            assert!(Username::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn username_is_never_a_uuid() {
        let id = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0001);
        for text in [
            id.to_string(),
            id.to_string().to_uppercase(),
            id.simple().to_string(),
        ] {
            assert_eq!(Username::parse(&text), Err("must not be a UUID".into()));
        }
    }

    #[test]
    fn reserved_usernames_ignore_case_and_separators() {
        let reserved = ReservedUsernames::with_additional(&[username("Acme-Press")]);
        for name in [
            "admin",
            "ADMIN",
            "ad-min",
            "no-reply",
            "no_reply",
            "acmepress",
            "acme.press",
        ] {
            assert!(reserved.contains(&username(name)), "{name}");
        }
        for name in ["john", "admin1", "acme", "rooter"] {
            assert!(!reserved.contains(&username(name)), "{name}");
        }
    }

    #[test]
    fn built_in_list_is_sorted_and_normalized() {
        assert!(RESERVED_USERNAMES.is_sorted());
        for name in RESERVED_USERNAMES {
            assert_eq!(normalized(&username(name)), name);
        }
    }

    proptest! {
        #[test]
        fn pattern_describes_usernames(text in matching(Username::RULES.pattern.unwrap())) {
            let is_accepted = Username::parse(&text).is_ok();
            prop_assert!(is_accepted || text.len() > 64 || Uuid::try_parse(&text).is_ok());
        }

        #[test]
        fn username_error_never_contains_input(text in "[^a-zA-Z0-9`@., ]{5,80}") {
            if let Err(reason) = Username::parse(&text) {
                prop_assert!(!reason.contains(&text));
            }
        }
    }
}
