//! Request bodies: read with a size limit and parsed into domain types.
//!
//! The framework's JSON payload keeps the last of duplicate fields and repeats values in its
//! errors. It parses forms by other rules than JSON. Therefore, bodies are parsed here. An error
//! lists all invalid fields by name. All bodies are flat objects with strings,
//! booleans, and lists of strings.

mod fields;

use std::{sync::Arc, time::Duration};

use latchkey_domain::text::TextRules;
use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use serde_json::Value;

pub use crate::http::openapi::body::fields::{
    Clearable, Field, Fields, Flag, GroupList, KeepIfAbsent, Kind, Nullable, Optional, Required,
    shown,
};
use crate::{app::App, error::Error};

pub const JSON: &str = "application/json";

/// Media type of forms, which OAuth clients and Swagger UI send.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Limits how long a slow client can keep a request open.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the body. A body that exceeds the configured limit returns an error.
pub async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Error> {
    let limit = request
        .data::<Arc<App>>()
        .expect("the request middleware sets it")
        .config
        .body_limit;
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(Error::TooLarge(limit));
    }
    let body = body.take().map_err(Error::internal)?;
    let read = tokio::time::timeout(BODY_TIMEOUT, body.into_bytes_limit(limit)).await;
    match read.map_err(|_| Error::malformed("Timed out reading the request body."))? {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(poem::error::ReadBodyError::PayloadTooLarge) => Err(Error::TooLarge(limit)),
        Err(_) => Err(Error::malformed("The request body is incomplete.")),
    }
}

/// Returns the media type of the body in lower case, without parameters.
pub fn media_type(request: &Request) -> String {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Contents of a request body.
pub trait Content: Sized + Send {
    /// Name of the schema.
    const NAME: &'static str;

    /// Description of the schema.
    const DESCRIPTION: &'static str;

    /// Reads all fields. Returns `None` if one of them is invalid.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// Returns the schema of each field.
    fn schema() -> Vec<FieldSchema>;
}

/// Schema of one field in the OpenAPI document.
pub struct FieldSchema {
    pub name: &'static str,
    pub description: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub nullable: bool,
}

/// Derives the parser and the schema of bodies from their structs.
///
/// The type of a field also names the rule for an absent field and for `null`. In the struct, it is
/// replaced by [`Field::Value`], for example `Optional<T>` by `Option<T>`.
///
/// Each line of a description starts with the space after `///`, so the concatenated lines are one
/// text.
macro_rules! body {
    ($(
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $($(#[doc = $field_doc:literal])+ pub $field:ident: $kind:ident<$type:ty>,)*
        }
    )*) => {$(
        $(#[doc = $doc])+
        pub struct $name {
            $(
                $(#[doc = $field_doc])+
                pub $field:
                    <$crate::http::openapi::body::$kind<$type> as $crate::http::openapi::body::Field>::Value,
            )*
        }

        impl $crate::http::openapi::body::Content for $name {
            const NAME: &'static str = stringify!($name);
            const DESCRIPTION: &'static str = concat!($($doc),+);

            fn read(fields: &mut $crate::http::openapi::body::Fields) -> Option<Self> {
                $(
                    let $field =
                        fields.take::<$crate::http::openapi::body::$kind<$type>>(stringify!($field));
                )*
                Some($name { $($field: $field?),* })
            }

            fn schema() -> Vec<$crate::http::openapi::body::FieldSchema> {
                use $crate::http::openapi::body::Field;
                vec![$($crate::http::openapi::body::FieldSchema {
                    name: stringify!($field),
                    description: concat!($($field_doc),+),
                    kind: $crate::http::openapi::body::$kind::<$type>::KIND,
                    required: $crate::http::openapi::body::$kind::<$type>::REQUIRED,
                    nullable: $crate::http::openapi::body::$kind::<$type>::NULLABLE,
                }),*]
            }
        }
    )*};
}
pub(crate) use body;

/// Adds the schema of a body to the OpenAPI document.
pub fn register<T: Content + 'static>(registry: &mut Registry) {
    registry.create_schema::<T, _>(T::NAME.to_owned(), |_| {
        let fields = T::schema();
        let example = fields
            .iter()
            .map(|field| (field.name.to_owned(), example(field.kind)));
        MetaSchema {
            required: fields
                .iter()
                .filter(|field| field.required)
                .map(|field| field.name)
                .collect(),
            description: Some(T::DESCRIPTION.trim()),
            example: Some(Value::Object(example.collect())),
            properties: fields
                .iter()
                .map(|field| {
                    (
                        field.name,
                        MetaSchemaRef::Inline(Box::new(field_schema(field))),
                    )
                })
                .collect(),
            ..MetaSchema::new("object")
        }
    });
}

fn example(kind: Kind) -> Value {
    match kind {
        Kind::Text(rules) => rules.example.into(),
        Kind::Flag => false.into(),
        Kind::List { items, .. } => vec![items.example].into(),
    }
}

fn field_schema(field: &FieldSchema) -> MetaSchema {
    let schema = match field.kind {
        Kind::Text(rules) => text_schema(rules),
        Kind::Flag => MetaSchema::new("boolean"),
        Kind::List { items, max } => MetaSchema {
            items: Some(Box::new(MetaSchemaRef::Inline(Box::new(text_schema(
                items,
            ))))),
            max_items: Some(max),
            ..MetaSchema::new("array")
        },
    };
    MetaSchema {
        description: Some(field.description.trim()),
        nullable: field.nullable,
        ..schema
    }
}

fn text_schema(rules: TextRules) -> MetaSchema {
    MetaSchema {
        format: rules.format,
        min_length: (rules.min > 0).then_some(rules.min),
        max_length: Some(rules.max),
        pattern: rules.pattern.map(str::to_owned),
        ..MetaSchema::new("string")
    }
}

/// Returns the documented media type and schema of a body.
pub fn meta<T: Content>(content_type: &'static str) -> MetaMediaType {
    MetaMediaType {
        content_type,
        schema: MetaSchemaRef::Reference(T::NAME.to_owned()),
    }
}

/// Parses the fields of a body. An unknown field is an error.
pub fn parse<T: Content>(mut fields: Fields) -> Result<T, Error> {
    let content = T::read(&mut fields);
    fields.finish()?;
    content.ok_or_else(|| Error::malformed("The request body is incomplete."))
}

/// Parses the fields of a body and ignores unknown and empty fields (RFC 6749 section 3.2).
pub fn parse_known<T: Content>(mut fields: Fields) -> Result<T, Error> {
    fields.ignore_empty();
    let content = T::read(&mut fields);
    fields.finish_known()?;
    content.ok_or_else(|| Error::malformed("The request body is incomplete."))
}

/// A JSON body.
pub struct Body<T>(pub T);

/// An optional JSON body. `null` counts as absent, because some generated clients send it instead
/// of no body.
pub struct OptionalBody<T>(pub Option<T>);

macro_rules! extract {
    ($name:ident, required $required:literal, |$request:ident, $bytes:ident| $read:expr) => {
        impl<'a, T: Content + 'static> ApiExtractor<'a> for $name<T> {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                register::<T>(registry);
            }

            fn request_meta() -> Option<MetaRequest> {
                Some(MetaRequest {
                    description: None,
                    content: vec![meta::<T>(JSON)],
                    required: $required,
                })
            }

            async fn from_request(
                $request: &'a Request,
                body: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                let $bytes = read($request, body).await?;
                Ok($read)
            }
        }
    };
}

extract!(Body, required true, |request, bytes| Body(parse_json(request, &bytes)?));
extract!(OptionalBody, required false, |request, bytes| OptionalBody(if is_absent(request, &bytes) {
    None
} else {
    Some(parse_json(request, &bytes)?)
}));

fn is_absent(request: &Request, bytes: &[u8]) -> bool {
    bytes.is_empty() || (bytes.trim_ascii() == b"null" && media_type(request) == JSON)
}

fn parse_json<T: Content>(request: &Request, bytes: &[u8]) -> Result<T, Error> {
    match media_type(request).as_str() {
        JSON => parse(Fields::from_json(bytes)?),
        _other => Err(Error::UnsupportedMediaType("`application/json`")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use latchkey_domain::{
        account::Username,
        item::Description,
        password::{Password, PasswordList, PasswordPolicy},
    };

    body! {
        /// Sample body.
        pub struct Sample {
            /// Username.
            pub username: Required<Username>,
            /// Description.
            pub description: Clearable<Description>,
            /// Password.
            pub password: Optional<Password>,
        }
    }

    fn field_errors(json: &str) -> Vec<(String, String)> {
        match Fields::from_json(json.as_bytes()).and_then(parse::<Sample>) {
            Ok(_) => Vec::new(),
            Err(Error::InvalidRequest { field_errors, .. }) => field_errors
                .into_iter()
                .map(|field_error| (field_error.field, field_error.reason.into_owned()))
                .collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn valid_body_is_parsed() {
        let fields = Fields::from_json(br#"{"password":"secret123","username":"john"}"#)
            .ok()
            .unwrap();
        let sample = parse::<Sample>(fields).ok().unwrap();
        assert_eq!(sample.username.as_str(), "john");
        let policy = PasswordPolicy::new(8, PasswordList::default());
        assert!(
            sample
                .password
                .is_some_and(|password| policy.check(&password, []).is_ok())
        );
    }

    #[test]
    fn clearable_field_distinguishes_absent_and_null() {
        let read = |json: &str| {
            parse::<Sample>(Fields::from_json(json.as_bytes()).ok().unwrap())
                .ok()
                .unwrap()
                .description
        };
        assert_eq!(read(r#"{"username":"a"}"#), None);
        assert_eq!(read(r#"{"username":"a","description":null}"#), Some(None));
        assert!(
            read(r#"{"username":"a","description":"x"}"#)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn all_invalid_fields_are_reported_without_values() {
        let errors = field_errors(concat!(
            r#"{"usernam":"hunter2","description":["hunter2"],"#,
            r#""password":12345,"description":"hunter2"}"#,
        ));
        let fields: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert!(
            ["username", "usernam", "description", "password"]
                .iter()
                .all(|field| fields.contains(field)),
            "{errors:?}"
        );
        assert!(
            errors
                .iter()
                .all(|(_, reason)| !reason.contains("hunter2") && !reason.contains("12345"))
        );
        assert!(
            errors
                .iter()
                .any(|(_, reason)| reason.contains("did you mean `username`?"))
        );
    }

    #[test]
    fn body_that_is_not_a_json_object_is_rejected() {
        for text in [
            "",
            "[]",
            "null",
            "\"x\"",
            "{",
            "{\"a\":1}x",
            "{\"a\":\"\\ud800\"}",
            "{'a':1}",
        ] {
            assert!(Fields::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Fields::from_json(b"{\"username\":\"\xff\"}").is_err());
    }

    #[test]
    fn form_that_is_not_utf8_is_rejected() {
        assert!(Fields::from_form(b"username=%FF").is_err());
        assert!(Fields::from_form(b"username=a&password=b%20c").is_ok());
    }

    proptest! {
        #[test]
        fn parser_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::from_json(&bytes).and_then(parse::<Sample>);
            let _ = Fields::from_form(&bytes).and_then(parse::<Sample>);
        }
    }
}
