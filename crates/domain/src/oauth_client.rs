//! OAuth clients: the settings that an administrator enters.

use crate::{
    application::is_reserved_audience,
    opaque_token::Label,
    scope::Scopes,
    text::{self, ParsedText, Rejection, TextRules},
};

/// Maximum number of audiences of a client.
pub const MAX_AUDIENCES: usize = 10;

/// Maximum length of an audience, which tokens contain.
const MAX_AUDIENCE_BYTES: usize = 255;

/// The rules of [`Audiences::parse`], for the OpenAPI document.
const PATTERN: &str = r"^[\t\n\f\r ]*([!-~]{1,255}[\t\n\f\r ]+){0,9}[!-~]{1,255}[\t\n\f\r ]*$";

/// The audiences for which a client can request tokens (RFC 9068 section 3), usually URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

impl Audiences {
    /// Returns the audiences in the order of the input.
    pub fn into_inner(self) -> Vec<String> {
        self.0
    }
}

impl ParsedText for Audiences {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 2560,
        pattern: Some(PATTERN),
        example: "https://billing.example.com",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        let audiences: Vec<&str> = text.split_ascii_whitespace().collect();
        let is_valid = |audience: &&str| {
            audience.len() <= MAX_AUDIENCE_BYTES
                && audience.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if audiences.is_empty()
            || audiences.len() > MAX_AUDIENCES
            || !audiences.iter().all(is_valid)
        {
            return Err(format!(
                "must contain 1 to {MAX_AUDIENCES} audiences, separated by spaces, each of at most \
                 {MAX_AUDIENCE_BYTES} printable ASCII characters"
            )
            .into());
        }
        if audiences.iter().copied().any(is_reserved_audience) {
            return Err("must not contain `/.latchkey`, which is reserved for applications".into());
        }
        Ok(Audiences(
            audiences.into_iter().map(str::to_owned).collect(),
        ))
    }
}

/// A change of a client. `None` keeps the value of a field.
#[derive(Debug, Clone, Default)]
pub struct ClientChange {
    /// The new display name.
    pub name: Option<Label>,
    /// The new scopes.
    pub scopes: Option<Scopes>,
    /// The new audiences.
    pub audiences: Option<Audiences>,
}

/// The settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The display name.
    pub name: String,
    /// The scopes that its tokens can have.
    pub scopes: Scopes,
    /// The audiences that its tokens can have. The first is the default.
    pub audiences: Vec<String>,
}

impl ClientSettings {
    /// Returns the settings after a change.
    #[must_use]
    pub fn changed(&self, change: &ClientChange) -> ClientSettings {
        ClientSettings {
            name: change
                .name
                .as_ref()
                .map_or_else(|| self.name.clone(), |name| name.as_str().to_owned()),
            scopes: change.scopes.unwrap_or(self.scopes),
            audiences: change
                .audiences
                .clone()
                .map_or_else(|| self.audiences.clone(), Audiences::into_inner),
        }
    }

    /// Returns whether tokens that were issued with these settings can exceed the new settings.
    ///
    /// They do if a scope or an audience was removed, and must then be revoked.
    pub fn exceeds(&self, after: &ClientSettings) -> bool {
        let is_removed = |audience: &String| !after.audiences.contains(audience);
        !self.scopes.is_within(after.scopes) || self.audiences.iter().any(is_removed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scope::Scope;

    #[test]
    fn only_removed_scopes_and_audiences_exceed_new_settings() {
        let before = ClientSettings {
            name: "billing".to_owned(),
            scopes: Scopes::of(&[Scope::ItemsRead, Scope::ItemsWrite]),
            audiences: vec!["a".to_owned(), "b".to_owned()],
        };
        let exceeds = |change: &ClientChange| before.exceeds(&before.changed(change));
        let scopes = |scopes: &[Scope]| ClientChange {
            scopes: Some(Scopes::of(scopes)),
            ..Default::default()
        };
        let audiences = |text| ClientChange {
            audiences: Some(Audiences::parse(text).unwrap()),
            ..Default::default()
        };
        let name = ClientChange {
            name: Some(Label::parse("invoices").unwrap()),
            ..Default::default()
        };
        assert_eq!(before.changed(&ClientChange::default()), before);
        assert_eq!(before.changed(&name).name, "invoices");
        for kept in [
            name,
            scopes(&[Scope::ItemsRead, Scope::ItemsWrite, Scope::Admin]),
            audiences("b a c"),
        ] {
            assert!(!exceeds(&kept), "{kept:?}");
        }
        for narrowed in [
            scopes(&[Scope::ItemsRead, Scope::Admin]),
            scopes(&[]),
            audiences("a"),
        ] {
            assert!(exceeds(&narrowed), "{narrowed:?}");
        }
    }

    proptest! {
        #[test]
        fn text_that_matches_pattern_is_accepted(text in text::matching(PATTERN)) {
            prop_assume!(text.len() <= Audiences::RULES.max);
            prop_assert!(Audiences::parse(&text).is_ok());
        }
    }

    #[test]
    fn audiences_are_separated_by_whitespace() {
        let parse = |text: &str| Audiences::parse(text).map(Audiences::into_inner);
        assert_eq!(
            parse("https://a.example  b").unwrap(),
            ["https://a.example", "b"]
        );
        for invalid in ["", " ", "ä", &"a".repeat(256), &"a ".repeat(11)] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }
}
