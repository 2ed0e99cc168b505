//! Groups of users: their names, their descriptions, and the groups of one user.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use crate::text::{self, ParsedText, Rejection, TextRules};

/// The maximum number of groups of a server, so that an administrator can read the complete list.
/// An application that needs more groups can store them itself.
pub const MAX_GROUPS: i64 = 1_000;

/// The maximum number of groups of a user. Every token of the user contains all of them, and a
/// session cookie must stay below 4,096 bytes.
pub const MAX_GROUPS_PER_USER: usize = 32;

/// The name of a group: 1 to 32 characters of `[a-z0-9._-]`.
///
/// It begins and ends with a letter or digit, so that it is never a path segment such as `..`, and
/// never looks like an option of a command. It contains no comma and no space, which separate names
/// in headers and queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName(String);

impl GroupName {
    /// Returns the validated text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ParsedText for GroupName {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 32,
        pattern: Some("^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"),
        example: "finance",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        check_characters(text)?;
        Ok(GroupName(text.to_owned()))
    }
}

fn check_characters(text: &str) -> Result<(), Rejection> {
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_allowed = |b: &u8| is_alphanumeric(b) || b"._-".contains(b);
    let bytes = text.as_bytes();
    if !bytes.iter().all(is_allowed) {
        return Err("must contain only lowercase letters, digits, `.`, `_`, and `-`".into());
    }
    if bytes.first().is_some_and(is_alphanumeric) && bytes.last().is_some_and(is_alphanumeric) {
        Ok(())
    } else {
        Err("must begin and end with a lowercase letter or a digit".into())
    }
}

fn is_name(text: &str) -> bool {
    text::length(text, GroupName::RULES).is_ok() && check_characters(text).is_ok()
}

/// The description of a group, for administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription(String);

impl GroupDescription {
    /// Returns the validated text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ParsedText for GroupDescription {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 200,
        pattern: text::LINE,
        example: "Can open the invoice application",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES)?;
        text::printable(text, false)?;
        Ok(GroupDescription(text.to_owned()))
    }
}

/// The names of groups, sorted and without duplicates.
///
/// They are one text with commas between them, as the identity header contains them, so that a
/// token needs one allocation for them. In JSON, they are a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupNames(Box<str>);

/// The names of groups that a request contains, separated by single spaces: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredGroupNames(pub GroupNames);

impl ParsedText for RequiredGroupNames {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        // Each name is followed by a space, except the last one.
        max: MAX_GROUPS_PER_USER * (GroupName::RULES.max + 1) - 1,
        // One name, and up to 31 others.
        pattern: Some(
            "^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?( [a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?){0,31}$",
        ),
        example: "finance audit",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        GroupNames::parse_list(text.split(' ')).map(RequiredGroupNames)
    }
}

impl GroupNames {
    /// Parses a list of names, in any order.
    ///
    /// # Errors
    /// If a name is invalid, or if the list contains more than [`MAX_GROUPS_PER_USER`] names,
    /// including duplicates.
    pub fn parse_list<'a>(names: impl Iterator<Item = &'a str>) -> Result<GroupNames, Rejection> {
        let mut valid = Vec::new();
        for name in names {
            if valid.len() == MAX_GROUPS_PER_USER {
                return Err(format!("must contain at most {MAX_GROUPS_PER_USER} groups").into());
            }
            if !is_name(name) {
                return Err(
                    "must contain only names of groups: 1 to 32 lowercase letters, digits, `.`, \
                     `_`, and `-`, that begin and end with a letter or digit"
                        .into(),
                );
            }
            valid.push(name);
        }
        Ok(GroupNames::from_valid(valid))
    }

    /// Returns the names in a list of the database or of a signed token.
    ///
    /// Other texts are ignored, because a newer version might allow names that this version can't
    /// write into a header.
    pub fn from_trusted<'a>(names: impl Iterator<Item = &'a str>) -> GroupNames {
        GroupNames::from_valid(names.filter(|name| is_name(name)).collect())
    }

    fn from_valid(mut names: Vec<&str>) -> GroupNames {
        names.sort_unstable();
        names.dedup();
        GroupNames(names.join(",").into())
    }

    /// Returns the names with commas between them; empty without names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split(',').filter(|name| !name.is_empty())
    }

    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a user can be in all of these groups.
    pub fn is_within_limit(&self) -> bool {
        self.iter().count() <= MAX_GROUPS_PER_USER
    }

    /// Returns whether at least one name is in both sets.
    pub fn intersects(&self, other: &GroupNames) -> bool {
        self.iter()
            .any(|name| other.iter().any(|other| other == name))
    }

    /// Returns the length as JSON, without the brackets.
    pub(crate) fn json_length(&self) -> usize {
        // Two quotes for each name.
        self.0.len() + 2 * self.iter().count()
    }
}

impl fmt::Display for GroupNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for GroupNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for GroupNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = GroupNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<GroupNames, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(GroupNames::from_trusted(names.iter().map(String::as_str)))
            }
        }

        deserializer.deserialize_seq(NamesVisitor)
    }
}

/// A change of the groups of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupsChange {
    /// The user is in these groups only.
    Replace(GroupNames),
    /// The user is added to groups and removed from others. A name in both lists is removed.
    Modify {
        /// The groups to which the user is added.
        add: GroupNames,
        /// The groups from which the user is removed.
        remove: GroupNames,
    },
}

impl GroupsChange {
    /// Returns the groups after the change. They can exceed the limit.
    pub fn apply(&self, groups: &GroupNames) -> GroupNames {
        match self {
            GroupsChange::Replace(new) => new.clone(),
            GroupsChange::Modify { add, remove } => GroupNames::from_valid(
                groups
                    .iter()
                    .chain(add.iter())
                    .filter(|name| !remove.iter().any(|removed| removed == *name))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn groups(names: &[&str]) -> GroupNames {
        GroupNames::parse_list(names.iter().copied()).unwrap()
    }

    proptest! {
        #[test]
        fn name_that_matches_pattern_is_accepted(
            name in crate::text::matching(GroupName::RULES.pattern.unwrap()),
        ) {
            prop_assert_eq!(GroupName::parse(&name).is_ok(), name.len() <= 32);
        }

        #[test]
        fn requirement_that_matches_pattern_is_accepted(
            text in crate::text::matching(RequiredGroupNames::RULES.pattern.unwrap()),
        ) {
            prop_assert!(text.len() <= RequiredGroupNames::RULES.max);
            prop_assert!(RequiredGroupNames::parse(&text).is_ok());
        }

        #[test]
        fn accepted_name_needs_no_encoding(text in "\\PC{0,4}|[a-z0-9._-]{0,34}") {
            if let Ok(name) = GroupName::parse(&text) {
                prop_assert!(!name.as_str().contains([',', ' ', '%', '"']));
                prop_assert!(name.as_str().is_ascii() && name.as_str() != "..");
            }
        }
    }

    #[test]
    fn name_is_a_word_of_lowercase_letters() {
        for valid in ["finance", "a", "0", "a.b_c-d", &"a".repeat(32)] {
            assert!(GroupName::parse(valid).is_ok(), "{valid}");
        }
        let long = "a".repeat(33);
        let invalid = [
            "", "Finance", "a b", "a,b", ".", "..", "-a", "a-", "_", "é", "a/b", " a", &long,
        ];
        for invalid in invalid {
            assert!(GroupName::parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn names_are_sorted_and_unique() {
        let names = groups(&["finance", "audit", "finance"]);
        assert_eq!(names.as_str(), "audit,finance");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["audit", "finance"]);
        assert_eq!(GroupNames::default().iter().count(), 0);
        assert!(GroupNames::default().is_empty() && groups(&[]) == GroupNames::default());
        assert!(GroupNames::parse_list(["a", ""].into_iter()).is_err());
    }

    #[test]
    fn user_is_in_at_most_32_groups() {
        let names: Vec<String> = (0..33).map(|number| format!("g{number}")).collect();
        let parse =
            |count: usize| GroupNames::parse_list(names[..count].iter().map(String::as_str));
        assert!(parse(32).is_ok_and(|names| names.is_within_limit()));
        let too_many = "must contain at most 32 groups";
        assert_eq!(parse(33).unwrap_err(), too_many);
        let equal = |count: usize| GroupNames::parse_list(std::iter::repeat_n("finance", count));
        assert_eq!(equal(32).unwrap().as_str(), "finance");
        assert_eq!(equal(33).unwrap_err(), too_many);
        let text = ["finance"; 33].join(" ");
        assert_eq!(RequiredGroupNames::parse(&text).unwrap_err(), too_many);
        let add = GroupsChange::Modify {
            add: groups(&["other"]),
            remove: GroupNames::default(),
        };
        assert!(!add.apply(&parse(32).unwrap()).is_within_limit());
    }

    #[test]
    fn json_is_a_list_and_other_texts_are_ignored() {
        let names = groups(&["audit", "finance"]);
        let json = serde_json::to_string(&names).unwrap();
        assert_eq!(json, r#"["audit","finance"]"#);
        assert_eq!(names.json_length() + 2, json.len());
        assert_eq!(serde_json::from_str::<GroupNames>(&json).unwrap(), names);
        let other = r#"["finance","a,b","","A","audit"]"#;
        assert_eq!(serde_json::from_str::<GroupNames>(other).unwrap(), names);
        assert!(serde_json::from_str::<GroupNames>("[1]").is_err());
        assert!(serde_json::from_str::<GroupNames>("null").is_err());
        assert_eq!(GroupNames::default().json_length(), 0);
    }

    #[test]
    fn requirement_is_met_by_one_common_group() {
        let (finance, both) = (groups(&["finance"]), groups(&["audit", "finance"]));
        assert!(finance.intersects(&both) && both.intersects(&finance));
        assert!(!finance.intersects(&groups(&["finances", "financ"])));
        assert!(!finance.intersects(&GroupNames::default()));
        assert!(!GroupNames::default().intersects(&GroupNames::default()));
    }

    #[test]
    fn change_replaces_or_modifies_groups() {
        let before = groups(&["a", "b"]);
        assert_eq!(
            GroupsChange::Replace(groups(&["c"])).apply(&before),
            groups(&["c"])
        );
        let modify = |add: &[&str], remove: &[&str]| {
            let change = GroupsChange::Modify {
                add: groups(add),
                remove: groups(remove),
            };
            change.apply(&before).to_string()
        };
        assert_eq!(modify(&["c"], &["a"]), "b,c");
        assert_eq!(modify(&["b"], &["x"]), "a,b");
        assert_eq!(modify(&["c"], &["c", "a", "b"]), "");
    }
}
