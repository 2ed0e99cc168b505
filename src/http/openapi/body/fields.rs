//! Fields of a request body. All invalid fields are collected, so that one error lists them.

use std::fmt;

use latchkey_domain::{
    group::{GroupName, GroupNames, MAX_GROUPS_PER_USER},
    text::{ParsedText, Rejection, TextRules},
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, FieldError};

/// More fields than any body has. A body with more fields returns a single error, because the size
/// limit allows thousands of them.
const MAX_FIELDS: usize = 32;

/// Fields of a request body.
pub struct Fields {
    found: Vec<(String, Value)>,
    known: Vec<&'static str>,
    field_errors: Vec<FieldError>,
}

impl Fields {
    /// Reads a JSON object.
    pub fn from_json(bytes: &[u8]) -> Result<Fields, Error> {
        let Object(found) = serde_json::from_slice(bytes)
            .map_err(|_| Error::malformed("The request body must be a JSON object in UTF-8."))?;
        Fields::new(found)
    }

    /// Reads a form.
    pub fn from_form(bytes: &[u8]) -> Result<Fields, Error> {
        let pairs = form_urlencoded::parse(bytes);
        let found: Vec<_> = pairs
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        // The parser replaces invalid UTF-8. Without this check, different passwords could become
        // equal.
        let is_replaced = |(name, value): &(String, Value)| {
            name.contains('\u{fffd}')
                || value.as_str().is_some_and(|text| text.contains('\u{fffd}'))
        };
        if found.iter().any(is_replaced) {
            Err(Error::malformed("The form must be UTF-8."))
        } else {
            Fields::new(found)
        }
    }

    fn new(found: Vec<(String, Value)>) -> Result<Fields, Error> {
        if found.len() > MAX_FIELDS {
            return Err(Error::malformed("The body has too many fields."));
        }
        let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let duplicates = names
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| field_error(pair[0], "is duplicated"))
            .collect();
        Ok(Fields {
            found,
            known: Vec::new(),
            field_errors: duplicates,
        })
    }

    /// Removes and reads a field. Returns `None` and collects the error if the field is invalid.
    pub fn take<F: Field>(&mut self, name: &'static str) -> Option<F::Value> {
        self.known.push(name);
        let index = self.found.iter().position(|(found, _)| found == name);
        let value = index.map(|index| self.found.swap_remove(index).1);
        F::read(value)
            .map_err(|reason| {
                self.field_errors.push(FieldError {
                    field: name.to_owned(),
                    reason,
                })
            })
            .ok()
    }

    /// Removes fields that a standard allows and the server does not use.
    pub fn ignore(&mut self, names: &[&'static str]) {
        self.found
            .retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Removes fields without a value, which count as omitted (RFC 6749 section 3.2).
    pub fn ignore_empty(&mut self) {
        self.found.retain(|(_, value)| value.as_str() != Some(""));
    }

    /// Returns the collected errors and ignores unknown fields.
    pub fn finish_known(self) -> Result<(), Error> {
        if self.field_errors.is_empty() {
            Ok(())
        } else {
            Err(Error::from_field_errors(self.field_errors))
        }
    }

    /// Returns the collected errors. Every field that was not taken is unknown, which is an error.
    pub fn finish(mut self) -> Result<(), Error> {
        for (name, _) in &self.found {
            let field = shown(name);
            if !self
                .field_errors
                .iter()
                .any(|field_error| field_error.field == field)
            {
                self.field_errors.push(FieldError {
                    field,
                    reason: self.describe_unknown(name),
                });
            }
        }
        if self.field_errors.is_empty() {
            Ok(())
        } else {
            Err(Error::from_field_errors(self.field_errors))
        }
    }

    fn describe_unknown(&self, name: &str) -> Rejection {
        // A long name is similar to no field and expensive to compare.
        let name = if name.len() <= 64 { name } else { "" };
        let distances = self.known.iter().map(|known| {
            (
                strsim::damerau_levenshtein(known, &name.to_lowercase()),
                known,
            )
        });
        let fields: Vec<String> = self
            .known
            .iter()
            .map(|known| format!("`{known}`"))
            .collect();
        match distances.min().filter(|(distance, _)| *distance <= 2) {
            Some((_, known)) => format!(
                "is unknown; did you mean `{known}`? Valid fields: {}",
                fields.join(", ")
            )
            .into(),
            None => format!("is unknown; valid fields: {}", fields.join(", ")).into(),
        }
    }
}

fn field_error(field: &str, reason: &'static str) -> FieldError {
    FieldError {
        field: shown(field),
        reason: reason.into(),
    }
}

/// Returns the name of a field for an error text, or a placeholder.
///
/// A text that does not look like a name can contain values: JSON that is sent as a form becomes a
/// single name, including the password.
pub fn shown(name: &str) -> String {
    let looks_like_a_name = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if looks_like_a_name {
        name.to_owned()
    } else {
        "(unreadable)".to_owned()
    }
}

/// A JSON object with all fields, including duplicates.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Kind of a field's values in the schema.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string that follows the rules.
    Text(TextRules),
    /// `true` or `false`.
    Flag,
    /// A list of strings that follow the rules.
    List {
        items: TextRules,
        /// Maximum number of strings.
        max: usize,
    },
}

/// Value of a field.
pub trait Readable: Sized {
    const KIND: Kind;

    /// Reads the value. The error never contains the value.
    fn read(value: &Value) -> Result<Self, Rejection>;
}

impl<T: ParsedText> Readable for T {
    const KIND: Kind = Kind::Text(T::RULES);

    fn read(value: &Value) -> Result<Self, Rejection> {
        value
            .as_str()
            .ok_or_else(|| "must be a string".into())
            .and_then(T::parse)
    }
}

/// A JSON boolean.
#[derive(Debug, Clone, Copy)]
pub struct Flag(pub bool);

impl Readable for Flag {
    const KIND: Kind = Kind::Flag;

    fn read(value: &Value) -> Result<Self, Rejection> {
        value
            .as_bool()
            .map(Flag)
            .ok_or_else(|| "must be `true` or `false`".into())
    }
}

/// A JSON list with the names of the groups of a user.
#[derive(Debug, Clone)]
pub struct GroupList(pub GroupNames);

impl Readable for GroupList {
    const KIND: Kind = Kind::List {
        items: GroupName::RULES,
        max: MAX_GROUPS_PER_USER,
    };

    fn read(value: &Value) -> Result<Self, Rejection> {
        let names: Option<Vec<&str>> = value
            .as_array()
            .and_then(|items| items.iter().map(Value::as_str).collect());
        let names = names.ok_or("must be a list of strings")?;
        GroupNames::parse_list(names.into_iter()).map(GroupList)
    }
}

/// How a field of a body is read.
pub trait Field {
    /// The Rust type of the field.
    type Value;
    /// Whether the schema lists the field as required.
    const REQUIRED: bool;
    /// Whether `null` is allowed.
    const NULLABLE: bool;
    const KIND: Kind;

    /// Reads the field. `None` means that the field is absent.
    fn read(value: Option<Value>) -> Result<Self::Value, Rejection>;
}

/// Required field.
pub struct Required<T>(std::marker::PhantomData<T>);

/// Required field that can be `null`.
pub struct Nullable<T>(std::marker::PhantomData<T>);

/// Optional field. `null` counts as absent.
pub struct Optional<T>(std::marker::PhantomData<T>);

/// PATCH field: if absent, the value is unchanged.
pub struct KeepIfAbsent<T>(std::marker::PhantomData<T>);

/// PATCH field: if absent, the value is unchanged; `null` clears it.
pub struct Clearable<T>(std::marker::PhantomData<T>);

macro_rules! fields {
    ($(
        $kind:ident -> $value:ty, required $required:literal, nullable $nullable:literal,
        absent $absent:expr, null $null:expr, some $some:expr;
    )*) => {$(
        impl<T: Readable> Field for $kind<T> {
            type Value = $value;
            const REQUIRED: bool = $required;
            const NULLABLE: bool = $nullable;
            const KIND: Kind = T::KIND;

            fn read(value: Option<Value>) -> Result<$value, Rejection> {
                match value {
                    None => $absent,
                    Some(Value::Null) => $null,
                    Some(value) => T::read(&value).map($some),
                }
            }
        }
    )*};
}

fields! {
    Required -> T, required true, nullable false,
        absent Err("is missing".into()), null Err("must not be null".into()), some |value| value;
    Nullable -> Option<T>, required true, nullable true,
        absent Err("is missing".into()), null Ok(None), some Some;
    Optional -> Option<T>, required false, nullable true,
        absent Ok(None), null Ok(None), some Some;
    KeepIfAbsent -> Option<T>, required false, nullable false,
        absent Ok(None), null Err("must not be null".into()), some Some;
    Clearable -> Option<Option<T>>, required false, nullable true,
        absent Ok(None), null Ok(Some(None)), some |value| Some(Some(value));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_list(value: Value) -> Result<String, Rejection> {
        GroupList::read(&value).map(|GroupList(names)| names.to_string())
    }

    #[test]
    fn list_contains_valid_strings_only() {
        assert_eq!(read_list(json!([])).unwrap(), "");
        let names = read_list(json!(["finance", "audit", "finance"]));
        assert_eq!(names.unwrap(), "audit,finance");
        let other_types = [
            json!("finance"),
            json!({}),
            json!(1),
            json!(["finance", null]),
            json!(["finance", 1]),
            json!([["finance"]]),
        ];
        for other in other_types {
            let reason = read_list(other.clone()).unwrap_err();
            assert_eq!(reason, "must be a list of strings", "{other}");
        }
        for invalid in ["", "Finance", "a,b", "finance ", "é"] {
            let reason = read_list(json!(["finance", invalid])).unwrap_err();
            assert!(reason.starts_with("must contain only names"), "{invalid}");
        }
    }

    #[test]
    fn length_of_list_includes_duplicates() {
        let Kind::List { max, .. } = GroupList::KIND else {
            panic!("a list");
        };
        let equal = |count| json!(vec!["finance"; count]);
        assert_eq!(read_list(equal(max)).unwrap(), "finance");
        for count in [max + 1, 2 * max] {
            let reason = read_list(equal(count)).unwrap_err();
            assert_eq!(reason, format!("must contain at most {max} groups"));
        }
    }
}
