//! Parameters in the path, query, and headers. Errors contain the name of a parameter, never its
//! value.

mod groups;

use latchkey_domain::{
    account::NamePrefix,
    item::IfMatch,
    page::{self, DEFAULT_LIMIT, MAX_LIMIT, Page},
    text::ParsedText,
};
use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchema, MetaSchemaRef},
};
use uuid::Uuid;

pub use crate::http::openapi::params::groups::{GroupCursor, MemberOf};
use crate::{app::revocation::WaitFor, error::Error};

/// Preference of a client that does not wait for enforcement (RFC 7240 section 4.1).
pub const RESPOND_ASYNC: &str = "respond-async";

/// A parameter: its location, its schema, and its parser.
pub trait Parameter: Sized + Send {
    const IN: MetaParamIn;
    /// Whether the OpenAPI document lists the parameter as required.
    const REQUIRED: bool;

    fn schema() -> MetaSchema;

    /// Parses the parameter. `None` means that the parameter is absent.
    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error>;
}

/// Extractor of a parameter. Its name is that of the handler's argument.
pub struct Param<T>(pub T);

/// Extractor of a path parameter.
///
/// The macro of the framework recognizes path parameters only by the identifier `Path`, and
/// numbers them.
pub type Path<T> = Param<T>;

impl<'a, T: Parameter> ApiExtractor<'a> for Param<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = T::REQUIRED;
    type ParamType = T;
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(T::IN)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(T::schema())))
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        options: ExtractParamOptions<T>,
    ) -> poem::Result<Self> {
        let name = options.name;
        let text = match T::IN {
            MetaParamIn::Path => request.raw_path_param(name).map(str::to_owned),
            MetaParamIn::Query => find_query_value(request, name),
            _header => join_header_values(request, name)?,
        };
        Ok(Param(T::read(text.as_deref(), name)?))
    }
}

fn find_query_value(request: &Request, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

/// Joins all headers of this name, because together they are one list (RFC 9110 section 5.3).
fn join_header_values(request: &Request, name: &'static str) -> Result<Option<String>, Error> {
    let fields = request.headers().get_all(name).iter();
    let texts = fields.map(|field| {
        field
            .to_str()
            .map_err(|_| Error::invalid_field(name, "must be printable ASCII text"))
    });
    let texts: Vec<&str> = texts.collect::<Result<_, _>>()?;
    Ok((!texts.is_empty()).then(|| texts.join(",")))
}

/// ID in a path. A malformed UUID returns 404.
pub struct Id(pub Uuid);

impl Parameter for Id {
    const IN: MetaParamIn = MetaParamIn::Path;
    const REQUIRED: bool = true;

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "uuid")
    }

    fn read(text: Option<&str>, _: &'static str) -> Result<Self, Error> {
        text.and_then(|text| Uuid::try_parse(text).ok())
            .map(Id)
            .ok_or(Error::NotFound)
    }
}

/// Page size.
pub struct Limit(pub u8);

impl Limit {
    /// Reason in the error of an invalid page size.
    pub const RULE: &str = "must be an integer from 1 to 100";
}

impl Parameter for Limit {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(f64::from(MAX_LIMIT)),
            default: Some(DEFAULT_LIMIT.into()),
            ..MetaSchema::new_with_format("integer", "int32")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Limit(DEFAULT_LIMIT));
        };
        let limit = text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit
            .map(Limit)
            .ok_or_else(|| Error::invalid_field(name, Limit::RULE))
    }
}

/// Pagination cursor. Without a cursor, a list starts at the nil UUID.
pub struct Cursor(pub Uuid);

impl Parameter for Cursor {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            pattern: Some(page::CURSOR_PATTERN.to_owned()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Cursor(Uuid::nil()));
        };
        page::parse_cursor(text).map(Cursor).ok_or_else(|| {
            Error::invalid_field(name, "must be the `next` value of the previous page")
        })
    }
}

/// Prefix of the username or email address. An absent parameter matches all users.
impl Parameter for NamePrefix {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some(NamePrefix::RULES.example.into()),
            max_length: Some(NamePrefix::RULES.max),
            pattern: NamePrefix::RULES.pattern.map(str::to_owned),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        NamePrefix::parse(text.unwrap_or_default())
            .map_err(|reason| Error::invalid_field(name, reason))
    }
}

/// Returns the page that the parameters of a list select.
pub fn page(Param(Limit(limit)): Param<Limit>, Param(Cursor(after)): Param<Cursor>) -> Page {
    Page { limit, after }
}

/// Sessions that a sign-out revokes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SignOutScope {
    /// The session of the credential.
    Session,
    /// All sessions of the user except the session of the credential.
    Others,
    /// All sessions of the user.
    All,
}

impl Parameter for SignOutScope {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: vec!["session".into(), "others".into(), "all".into()],
            default: Some("session".into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        match text {
            None | Some("session") => Ok(SignOutScope::Session),
            Some("others") => Ok(SignOutScope::Others),
            Some("all") => Ok(SignOutScope::All),
            Some(_) => Err(Error::invalid_field(
                name,
                "must be `session`, `others`, or `all`",
            )),
        }
    }
}

/// Versions to which the change applies (RFC 9110 section 13.1.1).
impl Parameter for IfMatch {
    const IN: MetaParamIn = MetaParamIn::Header;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("\"1\"".into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, _: &'static str) -> Result<Self, Error> {
        Ok(text.map_or(IfMatch::Any, IfMatch::parse))
    }
}

/// `Prefer: respond-async` (RFC 7240 section 4.1). Unknown preferences are ignored, as RFC 7240
/// section 2 requires.
impl Parameter for WaitFor {
    const IN: MetaParamIn = MetaParamIn::Header;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some(RESPOND_ASYNC.into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, _: &'static str) -> Result<Self, Error> {
        let mut preferences = text.unwrap_or_default().split(',');
        let is_async = |preference: &str| {
            preference
                .split(';')
                .next()
                .is_some_and(|name| name.trim().eq_ignore_ascii_case(RESPOND_ASYNC))
        };
        Ok(if preferences.any(is_async) {
            WaitFor::Published
        } else {
            WaitFor::Enforced
        })
    }
}

/// Rejects duplicate query parameters, because proxies and servers interpret them differently.
pub fn reject_duplicate_params(query: Option<&str>) -> Result<(), Error> {
    let Some(query) = query else { return Ok(()) };
    let mut names: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::invalid_field(
            crate::http::openapi::body::shown(&pair[0]),
            "is duplicated",
        )),
    }
}

/// Whether the client accepts one of the media types (RFC 9110 section 12.5.1). Without `Accept`, a
/// client accepts every media type.
pub fn accepts(request: &Request, offered: &[&str]) -> bool {
    let mut ranges = request
        .headers()
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .peekable();
    ranges.peek().is_none() || ranges.any(|range| range_matches(range, offered))
}

fn range_matches(range: &str, offered: &[&str]) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_excluded =
        parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0));
    let matches_wildcard = |offered: &str| {
        media_type
            .strip_suffix("/*")
            .is_some_and(|main_type| offered.split('/').next() == Some(main_type))
    };
    !is_excluded
        && (media_type == "*/*"
            || offered
                .iter()
                .any(|offered| *offered == media_type || matches_wildcard(offered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts_json(accept: &str) -> bool {
        accepts(
            &Request::builder().header(header::ACCEPT, accept).finish(),
            &["application/json"],
        )
    }

    #[test]
    fn accept_follows_rfc_9110() {
        for good in [
            "*/*",
            "application/*",
            "application/json",
            "text/html, application/json;q=0.1",
            "application/JSON; charset=utf-8",
        ] {
            assert!(accepts_json(good), "{good}");
        }
        for bad in [
            "text/html",
            "application/xml",
            "application/json;q=0",
            "image/*",
        ] {
            assert!(!accepts_json(bad), "{bad}");
        }
        assert!(accepts(&Request::default(), &["application/json"]));
    }

    #[test]
    fn preferences_follow_rfc_7240() {
        let read = |text| WaitFor::read(text, "Prefer").unwrap();
        for asynchronous in [
            "respond-async",
            "Respond-Async",
            "return=minimal, respond-async; wait=10",
        ] {
            assert_eq!(
                read(Some(asynchronous)),
                WaitFor::Published,
                "{asynchronous}"
            );
        }
        for other in [
            None,
            Some(""),
            Some("respond-asynchronously"),
            Some("wait=10"),
            Some("return=respond-async"),
        ] {
            assert_eq!(read(other), WaitFor::Enforced, "{other:?}");
        }
    }

    #[test]
    fn duplicate_parameters_are_rejected() {
        assert!(reject_duplicate_params(Some("a=1&b=2")).is_ok());
        assert!(reject_duplicate_params(Some("a=1&%61=2")).is_err());
    }
}
