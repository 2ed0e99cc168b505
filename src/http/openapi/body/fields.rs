//! The members of a body: found, taken one by one, and all that is wrong with them told at once.

use std::fmt;

use latchkey_domain::text::{ParsedText, Rejection, TextRules};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, FieldError};

/// More members than any body has. Whoever sends that many is told so once, not member by member:
/// within the limit of bytes there is room for thousands.
const MAX_FIELDS: usize = 32;

/// The members of a body.
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
        // The parser replaces what is no UTF-8, and two passwords must not become one.
        let replaced = |(name, value): &(String, Value)| {
            name.contains('\u{fffd}')
                || value.as_str().is_some_and(|text| text.contains('\u{fffd}'))
        };
        if found.iter().any(replaced) {
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
        let twice = names
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| field_error(pair[0], "is duplicated"))
            .collect();
        Ok(Fields {
            found,
            known: Vec::new(),
            field_errors: twice,
        })
    }

    /// Takes the member of this name.
    pub fn take<M: Field>(&mut self, name: &'static str) -> Option<M::Value> {
        self.known.push(name);
        let at = self.found.iter().position(|(found, _)| found == name);
        let value = at.map(|at| self.found.swap_remove(at).1);
        M::read(value)
            .map_err(|reason| {
                self.field_errors.push(FieldError {
                    field: name.to_owned(),
                    reason,
                })
            })
            .ok()
    }

    /// Members that a standard allows here and that have no meaning for us.
    pub fn ignore(&mut self, names: &[&'static str]) {
        self.found
            .retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Takes out what was sent without a value, which counts as not sent (RFC 6749 section 3.2).
    pub fn ignore_empty(&mut self) {
        self.found.retain(|(_, value)| value.as_str() != Some(""));
    }

    /// Whether what is known is right, where a standard wants the rest ignored.
    pub fn finish_known(self) -> Result<(), Error> {
        if self.field_errors.is_empty() {
            Ok(())
        } else {
            Err(Error::from_field_errors(self.field_errors))
        }
    }

    /// What is left is unknown.
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
                    reason: self.unknown(name),
                });
            }
        }
        if self.field_errors.is_empty() {
            Ok(())
        } else {
            Err(Error::from_field_errors(self.field_errors))
        }
    }

    fn unknown(&self, name: &str) -> Rejection {
        // A name far longer than any known one is near none, and costly to compare.
        let name = if name.len() <= 64 { name } else { "" };
        let near = self.known.iter().map(|known| {
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
        match near.min().filter(|(distance, _)| *distance <= 2) {
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

/// A name that somebody sent, if it is fit to be shown. What does not look like one may be a value:
/// JSON sent as a form has the whole of it, password included, for its only name.
pub fn shown(name: &str) -> String {
    let like_a_name = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if like_a_name {
        name.to_owned()
    } else {
        "(unreadable)".to_owned()
    }
}

/// A JSON object with all its members, duplicates included.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Every;

        impl<'de> Visitor<'de> for Every {
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

        deserializer.deserialize_map(Every)
    }
}

/// What the schema says about a member's values.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text of this shape.
    Text(TextRules),
    /// `true` or `false`.
    Flag,
}

/// A value that a member may have.
pub trait Readable: Sized {
    /// What the schema says about it.
    const KIND: Kind;

    /// The value, or the reason why there is none. The reason never repeats what was sent.
    fn read(found: &Value) -> Result<Self, Rejection>;
}

impl<T: ParsedText> Readable for T {
    const KIND: Kind = Kind::Text(T::RULES);

    fn read(found: &Value) -> Result<Self, Rejection> {
        found
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

    fn read(found: &Value) -> Result<Self, Rejection> {
        found
            .as_bool()
            .map(Flag)
            .ok_or_else(|| "must be `true` or `false`".into())
    }
}

/// How a member of a body is read.
pub trait Field {
    /// What it becomes.
    type Value;
    /// Whether the schema lists it as required.
    const REQUIRED: bool;
    /// Whether `null` is allowed.
    const NULLABLE: bool;
    /// What the schema says about it.
    const KIND: Kind;

    /// The value, or the reason why there is none.
    fn read(found: Option<Value>) -> Result<Self::Value, Rejection>;
}

/// Must be there.
pub struct Required<T>(std::marker::PhantomData<T>);

/// Must be there, but may be `null`.
pub struct Nullable<T>(std::marker::PhantomData<T>);

/// May be absent or `null`.
pub struct Optional<T>(std::marker::PhantomData<T>);

/// In a PATCH: absent leaves it as it is.
pub struct KeepIfAbsent<T>(std::marker::PhantomData<T>);

/// In a PATCH: absent leaves it as it is, `null` clears it.
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

            fn read(found: Option<Value>) -> Result<$value, Rejection> {
                match found {
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
