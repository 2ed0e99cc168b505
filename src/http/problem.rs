//! Problems: every refusal as `application/problem+json` (RFC 9457).

use std::{collections::BTreeMap, error::Error as StdError, fmt, marker::PhantomData};

use poem::{
    IntoResponse, Response,
    error::ResponseError,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{Example, ToJSON, Type},
};

use uuid::Uuid;

use crate::error::{Chain, Code, Error, Flaw};

/// Over so many seconds those come back who were refused together.
const SPREAD_SECONDS: u8 = 3;

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What was wrong, and what to do about it (RFC 9457).
#[derive(Object)]
#[oai(rename = "ErrorResponse", example)]
struct ProblemBody {
    /// A page that explains this kind of problem.
    #[oai(rename = "type", validator(max_length = 100))]
    kind: String,
    /// The kind of problem in words.
    title: String,
    /// The HTTP status, again.
    status: u16,
    /// This problem in words: what was wrong, and what to do.
    detail: String,
    /// What programs decide by: one of a closed list.
    code: String,
    /// For bad input: the members that are wrong.
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<FlawBody>>,
}

/// What is wrong with one member; never its value.
#[derive(Object)]
#[oai(rename = "FieldError")]
struct FlawBody {
    /// The member.
    member: String,
    /// Why it is refused, in words that follow its name.
    reason: String,
}

impl Example for ProblemBody {
    fn example() -> Self {
        body_of(&Error::flaw("password", "is missing"))
    }
}

fn body_of(error: &Error) -> ProblemBody {
    let code = error.code();
    let told = |flaw: &Flaw| FlawBody {
        member: flaw.member.clone(),
        reason: flaw.reason.clone().into_owned(),
    };
    let flaws = match error {
        Error::InvalidRequest { flaws, .. } if !flaws.is_empty() => {
            Some(flaws.iter().map(told).collect())
        }
        _other => None,
    };
    ProblemBody {
        kind: format!("/problems/{}", code.slug()),
        title: code.title().to_owned(),
        status: code.status(),
        detail: error.detail().into_owned(),
        code: code.slug().to_owned(),
        errors: flaws,
    }
}

/// An example of the problem with this code, for the document.
pub fn example(code: Code) -> Option<serde_json::Value> {
    let error = match code {
        Code::InvalidRequest => return ProblemBody::example().to_json(),
        Code::WeakPassword => {
            Error::WeakPassword("The password must have at least 8 characters.".into())
        }
        Code::UnsupportedMediaType => Error::UnsupportedMediaType("application/json"),
        Code::TooManyRequests => Error::TooManyRequests { retry_after: 42 },
        _other => {
            let body = ProblemBody {
                kind: format!("/problems/{}", code.slug()),
                title: code.title().to_owned(),
                status: code.status(),
                detail: code.advice().to_owned(),
                code: code.slug().to_owned(),
                errors: None,
            };
            return body.to_json();
        }
    };
    value(&error)
}

/// The problem that an error is told as.
pub fn value(error: &Error) -> Option<serde_json::Value> {
    body_of(error).to_json()
}

/// The answer for an error.
pub fn respond(error: &Error) -> Response {
    log(error);
    let status = StatusCode::from_u16(error.code().status()).expect("codes have valid statuses");
    let body = body_of(error).to_json_string();
    let mut response = Response::builder()
        .status(status)
        .content_type(MEDIA_TYPE)
        .body(body);
    let headers = response.headers_mut();
    if let Some(challenge) = challenge(error) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(seconds + spread(status)),
        );
    }
    response
}

/// What is a fault of ours or of a store is told to the log, once, with its causes.
pub fn log(error: &Error) {
    if let Some(source) = error.source() {
        tracing::error!(code = error.code().slug(), error = %Chain(source), "request failed");
    }
}

/// Who was refused at the same moment by a sick store does not come back at the same moment.
fn spread(status: StatusCode) -> u64 {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => u64::from(Uuid::new_v4().as_bytes()[0] % SPREAD_SECONDS),
        _other => 0,
    }
}

/// RFC 6750 section 3.
fn challenge(error: &Error) -> Option<HeaderValue> {
    match error {
        Error::InsufficientScope(scope) => {
            let text = format!(
                "Bearer realm=\"latchkey\", error=\"insufficient_scope\", scope=\"{scope}\""
            );
            HeaderValue::try_from(text).ok()
        }
        other => unauthorized(other.code()).map(HeaderValue::from_static),
    }
}

/// No error code when nothing was sent.
fn unauthorized(code: Code) -> Option<&'static str> {
    match code {
        Code::InvalidToken => Some(
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token is not valid\"",
        ),
        Code::TokenExpired => Some(
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token has expired\"",
        ),
        Code::TokenRevoked => Some(
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token has been revoked\"",
        ),
        code if code.status() == 401 => Some("Bearer realm=\"latchkey\""),
        _other => None,
    }
}

impl ResponseError for Error {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).expect("codes have valid statuses")
    }

    fn as_response(&self) -> Response {
        respond(self)
    }
}

/// The problems that an operation may answer with, as its document says.
pub trait Problems: Send + Sync + 'static {
    /// Their codes.
    fn codes() -> Vec<Code>;
}

/// What every operation may answer.
pub const ALWAYS: &[Code] = &[
    Code::InvalidRequest,
    Code::NotAcceptable,
    Code::Internal,
    Code::Busy,
    Code::Unavailable,
];

/// What operations for signed-in callers may answer.
pub const TOKEN: &[Code] = &[
    Code::Unauthenticated,
    Code::InvalidToken,
    Code::TokenExpired,
    Code::TokenRevoked,
];

/// What operations for those may answer whose token permits it.
pub const CALLER: &[Code] = &[
    Code::Unauthenticated,
    Code::InvalidToken,
    Code::TokenExpired,
    Code::TokenRevoked,
    Code::Forbidden,
    Code::InsufficientScope,
];

/// What operations with a body may answer.
pub const BODY: &[Code] = &[Code::TooLarge, Code::UnsupportedMediaType];

/// Declares the problems of one operation: groups first, then codes of its own.
macro_rules! problems {
    ($($name:ident: [$($group:ident),*] $($code:ident)*;)*) => {$(
        #[doc = concat!(
            "The problems of the operation that is named like `",
            stringify!($name),
            "`."
        )]
        pub struct $name;

        impl $crate::http::problem::Problems for $name {
            fn codes() -> Vec<$crate::error::Code> {
                let groups: &[&[$crate::error::Code]] = &[
                    $crate::http::problem::ALWAYS,
                    $($crate::http::problem::$group,)*
                    &[$($crate::error::Code::$code),*],
                ];
                groups.concat()
            }
        }
    )*};
}
pub(super) use problems;

/// An error of an operation whose document lists it.
pub struct Problem<P>(Error, PhantomData<P>);

impl<P: Problems> From<Error> for Problem<P> {
    fn from(error: Error) -> Self {
        debug_assert!(
            P::codes().contains(&error.code()),
            "{:?} is not documented for {}",
            error.code(),
            std::any::type_name::<P>()
        );
        Problem(error, PhantomData)
    }
}

impl<P> From<Problem<P>> for poem::Error {
    fn from(problem: Problem<P>) -> Self {
        problem.0.into()
    }
}

impl<P> IntoResponse for Problem<P>
where
    P: Send,
{
    fn into_response(self) -> Response {
        respond(&self.0)
    }
}

impl<P> fmt::Debug for Problem<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<P: Problems> ApiResponse for Problem<P> {
    /// One response for each status: two with the same would be a duplicate member of the document.
    fn meta() -> MetaResponses {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        P::codes().into_iter().for_each(|code| {
            by_status
                .entry(code.status())
                .or_default()
                .push(code.slug())
        });
        MetaResponses {
            responses: by_status
                .into_iter()
                .map(|(status, codes)| response(status, &codes))
                .collect(),
        }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}

fn response(status: u16, codes: &[&str]) -> MetaResponse {
    let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    MetaResponse {
        // The registry wants text that lives for ever; it is made when the document is, a few times
        // in a process.
        description: Box::leak(codes.join(", ").into_boxed_str()),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: MEDIA_TYPE,
            schema: MetaSchemaRef::Reference(ProblemBody::name().into_owned()),
        }],
        headers: Vec::new(),
    }
}
