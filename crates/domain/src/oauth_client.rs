//! OAuth clients: what is typed of them.

use crate::text::{self, ParsedText, Rejection, TextRules};

/// Audiences of a client.
const MOST: usize = 10;

/// The longest audience, in bytes: tokens hold it.
const LONGEST: usize = 255;

/// The same rules for a schema.
const PATTERN: &str = r"^[\t\n\f\r ]*([!-~]{1,255}[\t\n\f\r ]+){0,9}[!-~]{1,255}[\t\n\f\r ]*$";

/// Whom the tokens of a client may be for (RFC 9068 section 3), each a word of its own; mostly
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

impl Audiences {
    /// Them.
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
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let printable =
            |word: &&str| word.len() <= LONGEST && word.bytes().all(|byte| byte.is_ascii_graphic());
        if words.is_empty() || words.len() > MOST || !words.iter().all(printable) {
            return Err(
                "must contain 1 to 10 audiences, separated by spaces, each of at most 255 \
                 printable ASCII characters"
                    .into(),
            );
        }
        Ok(Audiences(words.into_iter().map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_fits_the_pattern_is_accepted(text in text::that_fit(PATTERN)) {
            prop_assume!(text.len() <= Audiences::RULES.max);
            prop_assert!(Audiences::parse(&text).is_ok());
        }
    }

    #[test]
    fn audiences_are_words() {
        let read = |text: &str| Audiences::parse(text).map(Audiences::into_inner);
        assert_eq!(
            read("https://a.example  b").unwrap(),
            ["https://a.example", "b"]
        );
        for bad in ["", " ", "ä", &"a".repeat(256), &"a ".repeat(11)] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
