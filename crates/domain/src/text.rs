//! Text that people type: what every member of a request has in common.

use std::borrow::Cow;

/// Why a text is refused: words that follow the member's name.
pub type Rejection = Cow<'static, str>;

/// A value that is parsed from text at the edge, and is right wherever it is held.
pub trait ParsedText: Sized {
    /// What the document says about the text.
    const RULES: TextRules;

    /// The value, or the reason why there is none. The reason never repeats the text.
    fn parse(text: &str) -> Result<Self, Rejection>;
}

/// The rules of a text that a JSON schema can express.
#[derive(Debug, Clone, Copy)]
pub struct TextRules {
    /// The schema's `format`.
    pub format: Option<&'static str>,
    /// The fewest characters.
    pub min: usize,
    /// The most characters.
    pub max: usize,
    /// The schema's `pattern`.
    pub pattern: Option<&'static str>,
    /// A good value, for the document.
    pub example: &'static str,
}

/// What [`printable`] lets pass on one line, as a schema's `pattern`.
pub const LINE: Option<&str> = Some(r"^[^\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]*$");

/// The same where lines are wanted.
pub const LINES: Option<&str> =
    Some(r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]*$");

/// Checks a length in characters (Unicode scalar values), as JSON schema counts it.
pub fn length(text: &str, shape: TextRules) -> Result<(), Rejection> {
    match text.chars().count() {
        0 if shape.min > 0 => Err("must not be empty".into()),
        count if count < shape.min => {
            Err(format!("must have at least {} characters", shape.min).into())
        }
        count if count > shape.max => {
            Err(format!("must have at most {} characters", shape.max).into())
        }
        _fits => Ok(()),
    }
}

/// Refuses control characters: they forge log lines and mail headers, and those that turn the
/// direction of writing make a name look like another. Where lines are wanted, tab and line breaks
/// pass.
pub fn printable(text: &str, lines: bool) -> Result<(), Rejection> {
    let allowed = |c: char| is_printable(c) || (lines && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().all(allowed) {
        Ok(())
    } else {
        Err("must not contain control characters".into())
    }
}

/// The text with what [`printable`] refuses written as `\u{…}`, for what must be told whatever it
/// holds.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            shown.push(c)
        } else {
            shown.extend(c.escape_unicode())
        }
    }
    shown
}

fn is_printable(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

/// Texts that fit a `pattern`: a parser must accept them, as far as it looks at nothing else.
#[cfg(test)]
pub fn that_fit(pattern: &str) -> impl proptest::strategy::Strategy<Value = String> {
    let whole = pattern
        .strip_prefix('^')
        .and_then(|rest| rest.strip_suffix('$'))
        .expect("it is about whole texts");
    proptest::string::string_regex(whole).expect("it is read by everybody")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_fits_the_pattern_is_printable(
            line in that_fit(LINE.unwrap()),
            lines in that_fit(LINES.unwrap()),
        ) {
            prop_assert!(printable(&line, false).is_ok());
            prop_assert!(printable(&lines, true).is_ok());
        }
    }

    #[test]
    fn what_is_not_printable_is_named_in_the_pattern() {
        let named = |pattern: &str, c: char| {
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
            (0..points.len()).any(|at| {
                let end = if dashes[at] {
                    points[at + 1]
                } else {
                    points[at]
                };
                (points[at]..=end).contains(&u32::from(c))
            })
        };
        for c in ('\0'..='\u{3000}').filter(|c| printable(&c.to_string(), false).is_err()) {
            assert!(named(LINE.unwrap(), c), "{c:?}");
            assert_eq!(
                named(LINES.unwrap(), c),
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
    fn line_breaks_pass_only_where_lines_are_wanted() {
        assert!(printable("a\nb", true).is_ok());
        assert!(printable("a\nb", false).is_err());
        assert!(printable("a\0b", true).is_err());
    }
}
