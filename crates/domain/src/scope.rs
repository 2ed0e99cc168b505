//! Scopes: a closed list of the permissions of tokens (RFC 6749 section 3.3).
//!
//! Each operation on user data or items requires one scope. A refresh grants the scopes of the
//! sign-in or fewer, never more.

use std::{fmt, str::FromStr};

use crate::text::{ParsedText, Rejection, TextRules};

/// Declares [`Scope`]: variant, name, and description.
macro_rules! scopes {
    ($($variant:ident $name:literal $description:literal;)*) => {
        /// A permission of a token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
        pub enum Scope { $(#[doc = $description] #[strum(serialize = $name)] $variant,)* }

        impl Scope {
            /// All scopes, in the order in which they are written.
            pub const ALL: &[Scope] = &[$(Scope::$variant,)*];

            /// Returns the name of the scope.
            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$variant => $name,)* }
            }

            /// Returns the description, which the OpenAPI document contains.
            pub const fn description(self) -> &'static str {
                match self { $(Scope::$variant => $description,)* }
            }
        }
    };
}

scopes! {
    UserRead "user:read" "Read the current user and their sessions";
    UserWrite "user:write" "Update the current user and revoke their sessions";
    ItemsRead "items:read" "Read items";
    ItemsWrite "items:write" "Create, update, and delete items";
    Admin "admin" "Administer users and OAuth clients";
    RevocationsRead "revocations:read" "Stream revocations";
}

impl Scope {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scopes. Its text contains the names in a fixed order, separated by spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The scopes that a user without the role `admin` can grant.
    pub const OF_USERS: Scopes = Scopes::of(&[
        Scope::UserRead,
        Scope::UserWrite,
        Scope::ItemsRead,
        Scope::ItemsWrite,
    ]);

    /// The scopes that an administrator can grant.
    pub const OF_ADMINS: Scopes = Scopes(Scopes::OF_USERS.0 | Scope::Admin.bit());

    /// Creates a set.
    pub const fn of(scopes: &[Scope]) -> Scopes {
        let (mut bits, mut index) = (0, 0);
        while index < scopes.len() {
            bits |= scopes[index].bit();
            index += 1;
        }
        Scopes(bits)
    }

    /// Parses the scopes of a token. Unknown names are ignored.
    ///
    /// A token of a newer version can contain a name that this version does not support.
    pub fn parse_granted(text: &str) -> Scopes {
        Scopes(
            text.split(' ')
                .filter_map(|name| name.parse().ok())
                .fold(0, |bits, scope: Scope| bits | scope.bit()),
        )
    }

    /// Returns whether the set contains the scope.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Returns whether `other` contains all scopes of this set.
    pub const fn is_within(self, other: Scopes) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns the scopes that both sets contain.
    #[must_use]
    pub const fn and(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// Returns whether the set contains no scope.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Scope::ALL
            .iter()
            .filter(|scope| self.contains(**scope))
            .map(|scope| scope.as_str())
            .collect();
        f.write_str(&names.join(" "))
    }
}

/// The text contains an unknown scope.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownScope;

/// Parses requested scopes. Unlike in a token, an unknown name is an error.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Scopes, UnknownScope> {
        let mut names = text.split(' ').filter(|name| !name.is_empty());
        names
            .all(|name| name.parse::<Scope>().is_ok())
            .then(|| Scopes::parse_granted(text))
            .ok_or(UnknownScope)
    }
}

/// Accepted input, for the OpenAPI document: scopes separated by spaces, or an empty text.
const PATTERN: &str = "^( |(user:read|user:write|items:read|items:write|admin|revocations:read) )*\
    (user:read|user:write|items:read|items:write|admin|revocations:read)?$";

impl ParsedText for Scopes {
    const RULES: TextRules = TextRules {
        format: None,
        min: 0,
        max: 255,
        pattern: Some(PATTERN),
        example: "items:read",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text.parse().map_err(|UnknownScope| {
            let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            format!(
                "contains an unknown scope; valid scopes: {}",
                all.join(", ")
            )
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn displayed_scopes_are_parsed(bits in 0..=Scopes::of(Scope::ALL).0) {
            prop_assert_eq!(Scopes(bits).to_string().parse(), Ok(Scopes(bits)));
            prop_assert_eq!(Scopes::parse_granted(&Scopes(bits).to_string()), Scopes(bits));
        }

        #[test]
        fn text_that_matches_pattern_is_accepted(text in crate::text::matching(PATTERN)) {
            prop_assert!(Scopes::parse(&text).is_ok());
        }

        #[test]
        fn intersection_is_within_both_sets(
            one in 0..=Scopes::of(Scope::ALL).0,
            other in 0..=Scopes::of(Scope::ALL).0,
        ) {
            let both = Scopes(one).and(Scopes(other));
            prop_assert!(both.is_within(Scopes(one)) && both.is_within(Scopes(other)));
        }

        #[test]
        fn granted_contains_only_named_scopes(text in "[a-z: ]{0,40}") {
            for scope in Scope::ALL
                .iter()
                .filter(|scope| Scopes::parse_granted(&text).contains(**scope))
            {
                prop_assert!(text.split(' ').any(|name| name == scope.as_str()));
            }
        }
    }

    #[test]
    fn pattern_contains_all_scopes() {
        let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        assert_eq!(
            PATTERN.matches(&format!("({})", names.join("|"))).count(),
            2
        );
    }

    #[test]
    fn unknown_scope_is_ignored_in_tokens_and_rejected_in_requests() {
        assert_eq!(
            Scopes::parse_granted("items:read items:readx Admin"),
            Scopes::of(&[Scope::ItemsRead])
        );
        assert_eq!(
            "items:read items:delete".parse::<Scopes>(),
            Err(UnknownScope)
        );
        assert_eq!("".parse(), Ok(Scopes(0)));
    }
}
