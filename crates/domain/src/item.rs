//! Items: what people keep here, and how a lost update is refused.

use crate::text::{self, ParsedText, Rejection, TextRules};

/// The name of an item: one line.
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

/// The description of an item: lines of text, empty if one likes.
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
    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Description {
    /// The description as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The versions that an `If-Match` header allows (RFC 9110 section 13.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`: any version of what exists.
    Any,
    /// One of these; empty when no tag of the header can be one of ours, which then matches
    /// nothing.
    OneOf(Vec<i64>),
}

impl IfMatch {
    /// Reads the header. Weak tags never match (RFC 9110 section 8.8.3.2).
    pub fn parse(header: &str) -> IfMatch {
        if header.trim() == "*" {
            return IfMatch::Any;
        }
        IfMatch::OneOf(
            header
                .split(',')
                .filter_map(|tag| version(tag.trim()))
                .collect(),
        )
    }

    /// The versions as a list for the statement; nothing where every version is right.
    pub fn versions(&self) -> Option<&[i64]> {
        match self {
            IfMatch::Any => None,
            IfMatch::OneOf(versions) => Some(versions),
        }
    }
}

/// The entity tag of a version.
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

fn version(tag: &str) -> Option<i64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weak_and_foreign_tags_match_nothing() {
        assert_eq!(IfMatch::parse("W/\"3\", \"abc\""), IfMatch::OneOf(vec![]));
        assert_eq!(IfMatch::parse(" * "), IfMatch::Any);
    }

    proptest! {
        #[test]
        fn a_tag_matches_its_own_version(version in 0i64..) {
            prop_assert_eq!(
                IfMatch::parse(&format!("\"x\", {}", etag(version))),
                IfMatch::OneOf(vec![version])
            );
        }
    }
}
