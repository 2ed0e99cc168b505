//! Scopes: what a token may be used for (RFC 6749 section 3.3). The vocabulary is small and closed;
//! every operation on an account, on items or on everybody wants one word of it, and no token ever
//! grows: a refresh gives what the sign-in gave, or less.

use std::{fmt, str::FromStr};

use crate::text::{ParsedText, Rejection, TextRules};

/// Declares [`Scope`]: variant, word, and what it permits.
macro_rules! scopes {
    ($($variant:ident $word:literal $told:literal;)*) => {
        /// One thing that a token may be used for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Scope { $(#[doc = $told] $variant,)* }

        impl Scope {
            /// All of them, in the order in which they are written.
            pub const ALL: &[Scope] = &[$(Scope::$variant,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$variant => $word,)* }
            }

            /// What it permits.
            pub const fn told(self) -> &'static str {
                match self { $(Scope::$variant => $told,)* }
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

/// A set of scopes, written in one order, separated by spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What an account may do with its own, and nothing about others.
    pub const OF_USERS: Scopes = Scopes::of(&[
        Scope::UserRead,
        Scope::UserWrite,
        Scope::ItemsRead,
        Scope::ItemsWrite,
    ]);

    /// What an administrator's account may do.
    pub const OF_ADMINS: Scopes = Scopes(Scopes::OF_USERS.0 | Scope::Admin.bit());

    /// A set of these.
    pub const fn of(scopes: &[Scope]) -> Scopes {
        let (mut bits, mut at) = (0, 0);
        while at < scopes.len() {
            bits |= scopes[at].bit();
            at += 1;
        }
        Scopes(bits)
    }

    /// The words of a token. A word that a newer version knows permits nothing here.
    pub fn granted(text: &str) -> Scopes {
        let known = |word| Scope::ALL.iter().find(|scope| scope.as_str() == word);
        Scopes(
            text.split(' ')
                .filter_map(known)
                .fold(0, |bits, scope| bits | scope.bit()),
        )
    }

    /// Whether it holds this one.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the other holds all of it.
    pub const fn is_within(self, other: Scopes) -> bool {
        self.0 & !other.0 == 0
    }

    /// What both hold.
    #[must_use]
    pub const fn and(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// Whether it permits nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = Scope::ALL
            .iter()
            .filter(|scope| self.contains(**scope))
            .map(|scope| scope.as_str())
            .collect();
        f.write_str(&words.join(" "))
    }
}

/// A text holds a word that is none.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownScope;

/// What somebody asks for: unlike in a token, a word that is not known is a mistake.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Scopes, UnknownScope> {
        let scopes = Scopes::granted(text);
        let words = text.split(' ').filter(|word| !word.is_empty());
        if words
            .into_iter()
            .all(|word| Scope::ALL.iter().any(|scope| scope.as_str() == word))
        {
            Ok(scopes)
        } else {
            Err(UnknownScope)
        }
    }
}

/// Words of the vocabulary with spaces between and around them, or nothing at all.
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
        fn they_come_back(bits in 0u8..64) {
            prop_assert_eq!(Scopes(bits).to_string().parse(), Ok(Scopes(bits)));
            prop_assert_eq!(Scopes::granted(&Scopes(bits).to_string()), Scopes(bits));
        }

        #[test]
        fn what_fits_the_pattern_is_accepted(text in crate::text::that_fit(PATTERN)) {
            prop_assert!(Scopes::parse(&text).is_ok());
        }

        #[test]
        fn what_both_hold_is_within_each(one in 0u8..64, other in 0u8..64) {
            let both = Scopes(one).and(Scopes(other));
            prop_assert!(both.is_within(Scopes(one)) && both.is_within(Scopes(other)));
        }

        #[test]
        fn no_text_permits_what_it_does_not_say(text in "[a-z: ]{0,40}") {
            for scope in Scope::ALL
                .iter()
                .filter(|scope| Scopes::granted(&text).contains(**scope))
            {
                prop_assert!(text.split(' ').any(|word| word == scope.as_str()));
            }
        }
    }

    #[test]
    fn the_pattern_knows_every_word() {
        let words: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        assert_eq!(
            PATTERN.matches(&format!("({})", words.join("|"))).count(),
            2
        );
    }

    #[test]
    fn an_unknown_word_permits_nothing_and_cannot_be_asked_for() {
        assert_eq!(
            Scopes::granted("items:read items:readx Admin"),
            Scopes::of(&[Scope::ItemsRead])
        );
        assert_eq!(
            "items:read items:delete".parse::<Scopes>(),
            Err(UnknownScope)
        );
        assert_eq!("".parse(), Ok(Scopes(0)));
    }
}
