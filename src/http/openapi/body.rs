//! Bodies of requests: read, bounded, and parsed into the types of the domain, all mistakes at
//! once.
//!
//! The framework's own JSON payload lets the last of duplicate members win, repeats values in its
//! errors and parses forms by other rules than JSON; so bodies are read here. All of them are flat
//! objects of texts and flags.

mod fields;

use std::{sync::Arc, time::Duration};

use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use serde_json::Value;

pub use crate::http::openapi::body::fields::{
    Clearable, Field, Fields, Flag, KeepIfAbsent, Kind, Nullable, Optional, Required, shown,
};

use crate::{app::Gateway, error::Error};

/// JSON.
pub const JSON: &str = "application/json";

/// A form, as OAuth clients and Swagger UI send it.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// A body that has not arrived by then will not.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the whole body, but never more than the limit.
pub async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Error> {
    let limit = request
        .data::<Arc<Gateway>>()
        .expect("the edge sets it")
        .config()
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

/// The media type of the body, without its parameters.
pub fn media_type(request: &Request) -> String {
    let given = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|given| given.to_str().ok())
        .unwrap_or_default();
    given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// What a request's body becomes.
pub trait Content: Sized + Send {
    /// The schema's name.
    const NAME: &'static str;

    /// The schema's description.
    const DESCRIPTION: &'static str;

    /// Reads all members; `None` where one is wrong.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// The schema of each member: name, description, kind, whether it is required, whether it may
    /// be null.
    fn schema() -> Vec<FieldSchema>;
}

/// What the document says about one member.
pub struct FieldSchema {
    pub name: &'static str,
    pub description: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub nullable: bool,
}

/// Declares a body: its struct, how it is read, and its schema. Each line of a member's description
/// begins with the space behind `///`, so the lines together are one text.
macro_rules! body {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $member_doc:literal])+ $field:ident: $kind:ident<$type:ty>,)*
        }
    )*) => {$(
        $(#[doc = $doc])+
        pub struct $name {
            $(
                $(#[doc = $member_doc])+
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
                    description: concat!($($member_doc),+),
                    kind: $crate::http::openapi::body::$kind::<$type>::KIND,
                    required: $crate::http::openapi::body::$kind::<$type>::REQUIRED,
                    nullable: $crate::http::openapi::body::$kind::<$type>::NULLABLE,
                }),*]
            }
        }
    )*};
}
pub(crate) use body;

/// Adds the schema of a body to the document.
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
                        MetaSchemaRef::Inline(Box::new(member_schema(field))),
                    )
                })
                .collect(),
            ..MetaSchema::new("object")
        }
    });
}

fn example(kind: Kind) -> Value {
    match kind {
        Kind::Text(shape) => shape.example.into(),
        Kind::Flag => false.into(),
    }
}

fn member_schema(field: &FieldSchema) -> MetaSchema {
    let schema = match field.kind {
        Kind::Text(shape) => MetaSchema {
            format: shape.format,
            min_length: (shape.min > 0).then_some(shape.min),
            max_length: Some(shape.max),
            pattern: shape.pattern.map(str::to_owned),
            ..MetaSchema::new("string")
        },
        Kind::Flag => MetaSchema::new("boolean"),
    };
    MetaSchema {
        description: Some(field.description.trim()),
        nullable: field.nullable,
        ..schema
    }
}

/// The media type and schema of a body.
pub fn meta<T: Content>(content_type: &'static str) -> MetaMediaType {
    MetaMediaType {
        content_type,
        schema: MetaSchemaRef::Reference(T::NAME.to_owned()),
    }
}

/// Parses the members of one body.
pub fn parse<T: Content>(mut fields: Fields) -> Result<T, Error> {
    let content = T::read(&mut fields);
    fields.finish()?;
    content.ok_or_else(|| Error::malformed("The request body is incomplete."))
}

/// The same where a standard wants unknown members ignored, and those without a value.
pub fn parse_known<T: Content>(mut fields: Fields) -> Result<T, Error> {
    fields.ignore_empty();
    let content = T::read(&mut fields);
    fields.finish_known()?;
    content.ok_or_else(|| Error::malformed("The request body is incomplete."))
}

/// A JSON body.
pub struct Body<T>(pub T);

/// A JSON body, or none at all; `null` is none, because some generated clients send it where there
/// is nothing to send.
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

extract!(Body, required true, |request, bytes| Body(json(request, &bytes)?));
extract!(OptionalBody, required false, |request, bytes| OptionalBody(if is_none(request, &bytes) {
    None
} else {
    Some(json(request, &bytes)?)
}));

fn is_none(request: &Request, bytes: &[u8]) -> bool {
    bytes.is_empty() || (bytes.trim_ascii() == b"null" && media_type(request) == JSON)
}

fn json<T: Content>(request: &Request, bytes: &[u8]) -> Result<T, Error> {
    match media_type(request).as_str() {
        JSON => parse(Fields::from_json(bytes)?),
        _other => Err(Error::UnsupportedMediaType("`application/json`")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use latchkey_domain::{account::Username, item::Description, password::Password};

    body! {
        /// For the tests.
        Sample {
            /// Who.
            username: Required<Username>,
            /// What.
            description: Clearable<Description>,
            /// Secret.
            password: Optional<Password>,
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
    fn every_member_is_read() {
        let fields = Fields::from_json(br#"{"password":"secret123","username":"john"}"#)
            .ok()
            .unwrap();
        let sample = parse::<Sample>(fields).ok().unwrap();
        assert_eq!(sample.username.as_str(), "john");
        assert!(
            sample
                .password
                .is_some_and(|password| password.check(8).is_ok())
        );
    }

    #[test]
    fn absent_null_and_present_differ_where_they_should() {
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
    fn all_mistakes_are_told_at_once_by_name_and_never_by_value() {
        let told = field_errors(concat!(
            r#"{"usernam":"hunter2","description":["hunter2"],"#,
            r#""password":12345,"description":"hunter2"}"#,
        ));
        let fields: Vec<_> = told.iter().map(|(field, _)| field.as_str()).collect();
        assert!(
            ["username", "usernam", "description", "password"]
                .iter()
                .all(|field| fields.contains(field)),
            "{told:?}"
        );
        assert!(
            told.iter()
                .all(|(_, reason)| !reason.contains("hunter2") && !reason.contains("12345"))
        );
        assert!(
            told.iter()
                .any(|(_, reason)| reason.contains("did you mean `username`?"))
        );
    }

    #[test]
    fn other_json_is_no_object() {
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
    fn forms_with_broken_text_are_refused() {
        assert!(Fields::from_form(b"username=%FF").is_err());
        assert!(Fields::from_form(b"username=a&password=b%20c").is_ok());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::from_json(&bytes).and_then(parse::<Sample>);
            let _ = Fields::from_form(&bytes).and_then(parse::<Sample>);
        }
    }
}
