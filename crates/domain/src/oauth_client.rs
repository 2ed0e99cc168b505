//! OAuth clients: the settings that an administrator enters.

use crate::text::{self, ParsedText, Rejection, TextRules};

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
        Ok(Audiences(
            audiences.into_iter().map(str::to_owned).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
