//! Items of the sample API, and their entity tags, which prevent lost updates.

use crate::text::{self, ParsedText, Rejection, TextRules};

/// The name of an item: one line of 1 to 200 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemName(String);

impl ParsedText for ItemName {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 200,
        pattern: text::LINE,
        example: "Book",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(ItemName(text.to_owned()))
    }
}

/// The description of an item: at most 10,000 printable characters and line breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(String);

impl ParsedText for Description {
    const RULES: TextRules = TextRules {
        format: None,
        min: 0,
        max: 10_000,
        pattern: text::LINES,
        example: "A nice book",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, true)?;
        Ok(Description(text.to_owned()))
    }
}

impl ItemName {
    /// Returns the validated text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Description {
    /// Returns the validated text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The condition of an `If-Match` header (RFC 9110 section 13.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`: any version of an existing item.
    Any,
    /// One of these versions. The list is empty if no tag of the header is valid, and then no item
    /// matches.
    OneOf(Vec<i64>),
}

impl IfMatch {
    /// Parses the header. Weak tags never match (RFC 9110 section 8.8.3.2).
    pub fn parse(header: &str) -> IfMatch {
        if header.trim() == "*" {
            return IfMatch::Any;
        }
        IfMatch::OneOf(
            header
                .split(',')
                .filter_map(|tag| parse_etag(tag.trim()))
                .collect(),
        )
    }

    /// Returns the allowed versions, or `None` if any version is allowed.
    pub fn versions(&self) -> Option<&[i64]> {
        match self {
            IfMatch::Any => None,
            IfMatch::OneOf(versions) => Some(versions),
        }
    }
}

/// Returns the entity tag of a version (RFC 9110 section 8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// Returns the version of an entity tag; `None` for a tag that [`etag`] doesn't create. Strong tags
/// are compared character by character (RFC 9110 section 8.8.3.2).
fn parse_etag(tag: &str) -> Option<i64> {
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    (etag(version) == tag).then_some(version)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weak_and_unknown_tags_match_no_version() {
        for tags in ["W/\"3\", \"abc\"", "\"+3\", \"003\""] {
            assert_eq!(IfMatch::parse(tags), IfMatch::OneOf(vec![]), "{tags}");
        }
        assert_eq!(IfMatch::parse(" * "), IfMatch::Any);
    }

    proptest! {
        #[test]
        fn etag_matches_its_version(version in 0i64..) {
            prop_assert_eq!(
                IfMatch::parse(&format!("\"x\", {}", etag(version))),
                IfMatch::OneOf(vec![version])
            );
        }
    }
}
