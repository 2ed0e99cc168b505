//! Rules and checks for the text fields of requests.

use std::borrow::Cow;

/// The reason why a text is rejected. It follows the name of the field in an error.
pub type Rejection = Cow<'static, str>;

/// A value that is parsed from text at the API, so that every instance is valid.
pub trait ParsedText: Sized {
    /// The rules that the OpenAPI document contains.
    const RULES: TextRules;

    /// Parses the text.
    ///
    /// # Errors
    /// If the text is invalid. The reason never contains the text, because it can be a password.
    fn parse(text: &str) -> Result<Self, Rejection>;
}

/// The rules of a text that JSON Schema can express.
#[derive(Debug, Clone, Copy)]
pub struct TextRules {
    /// The `format` of the schema.
    pub format: Option<&'static str>,
    /// Minimum length in characters.
    pub min: usize,
    /// Maximum length in characters.
    pub max: usize,
    /// The `pattern` of the schema.
    pub pattern: Option<&'static str>,
    /// A valid value, as an example for the OpenAPI document.
    pub example: &'static str,
}

/// The `pattern` for one line that [`printable`] accepts.
pub const LINE: Option<&str> = Some(r"^[^\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]*$");

/// The `pattern` for several lines that [`printable`] accepts.
pub const LINES: Option<&str> =
    Some(r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]*$");

/// Checks the length in Unicode code points, as JSON Schema counts it.
///
/// # Errors
/// If the text is shorter or longer than the rules allow.
pub fn length(text: &str, rules: TextRules) -> Result<(), Rejection> {
    match text.chars().count() {
        0 if rules.min > 0 => Err("must not be empty".into()),
        count if count < rules.min => {
            Err(format!("must have at least {} characters", rules.min).into())
        }
        count if count > rules.max => {
            Err(format!("must have at most {} characters", rules.max).into())
        }
        _fits => Ok(()),
    }
}

/// Rejects control characters, because they can inject log lines and email headers.
///
/// It also rejects characters that change the writing direction, because they can disguise a name.
/// With `lines`, tabs and line breaks are allowed.
///
/// # Errors
/// If the text contains such a character.
pub fn printable(text: &str, lines: bool) -> Result<(), Rejection> {
    let is_allowed = |c: char| is_printable(c) || (lines && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().all(is_allowed) {
        Ok(())
    } else {
        Err("must not contain control characters".into())
    }
}

/// Returns the text with all characters that [`printable`] rejects escaped as `\u{…}`.
///
/// Untrusted text from headers can then be stored and logged.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            escaped.push(c)
        } else {
            escaped.extend(c.escape_unicode())
        }
    }
    escaped
}

fn is_printable(c: char) -> bool {
    let changes_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !changes_direction
}

/// Generates texts that match a `pattern` of the OpenAPI document.
#[cfg(test)]
pub fn matching(pattern: &str) -> impl proptest::strategy::Strategy<Value = String> {
    let unanchored = pattern
        .strip_prefix('^')
        .and_then(|pattern| pattern.strip_suffix('$'))
        .expect("an anchored pattern");
    proptest::string::string_regex(unanchored).expect("a valid regular expression")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_that_matches_pattern_is_printable(
            line in matching(LINE.unwrap()),
            lines in matching(LINES.unwrap()),
        ) {
            prop_assert!(printable(&line, false).is_ok());
            prop_assert!(printable(&lines, true).is_ok());
        }
    }

    #[test]
    fn patterns_exclude_all_unprintable_characters() {
        let excludes = |pattern: &str, c: char| {
            let ranges = pattern
                .trim_start_matches("^[^")
                .trim_end_matches("]*$")
                .split("\\u")
                .skip(1);
            let points: Vec<u32> = ranges
                .map(|hex| u32::from_str_radix(&hex[..4], 16).unwrap())
                .collect();
            let dashes: Vec<bool> = pattern
                .split("\\u")
                .skip(1)
                .map(|part| part.ends_with('-'))
                .collect();
            (0..points.len()).any(|index| {
                let end = if dashes[index] {
                    points[index + 1]
                } else {
                    points[index]
                };
                (points[index]..=end).contains(&u32::from(c))
            })
        };
        for c in ('\0'..='\u{3000}').filter(|c| printable(&c.to_string(), false).is_err()) {
            assert!(excludes(LINE.unwrap(), c), "{c:?}");
            assert_eq!(
                excludes(LINES.unwrap(), c),
                printable(&c.to_string(), true).is_err(),
                "{c:?}"
            );
        }
    }

    const RULES: TextRules = TextRules {
        format: None,
        min: 2,
        max: 3,
        pattern: None,
        example: "ab",
    };

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(length("äöü", RULES).is_ok());
        assert!(length("ä", RULES).is_err());
        assert!(length("äöüß", RULES).is_err());
    }

    #[test]
    fn line_breaks_require_multiline_text() {
        assert!(printable("a\nb", true).is_ok());
        assert!(printable("a\nb", false).is_err());
        assert!(printable("a\0b", true).is_err());
    }
}
