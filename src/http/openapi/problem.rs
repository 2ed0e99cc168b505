//! Error responses: every error as `application/problem+json` (RFC 9457).

mod body;
mod examples;

use std::{collections::BTreeMap, error::Error as StdError, fmt, marker::PhantomData};

use poem::{
    Response,
    error::ResponseError,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use uuid::Uuid;

pub use crate::http::openapi::problem::{
    body::{REQUEST, RequestContext, pages_url},
    examples::{error as example, value as example_body},
};
use crate::{
    error::{Chain, Code, Error},
    http::openapi::problem::body::ProblemBody,
};

/// The random delay in `Retry-After` of a 503 is less than this number of seconds.
const RETRY_JITTER_SECONDS: u8 = 3;

/// The media type of error responses.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Returns the response for an error. The body contains the ID of the current task's request.
pub fn respond(error: &Error) -> Response {
    log(error);
    let status = StatusCode::from_u16(error.code().status()).expect("codes have valid statuses");
    let retry_after = error
        .retry_after()
        .map(|seconds| seconds + choose_jitter(status));
    let body = ProblemBody::new(error, &RequestContext::current(), retry_after).to_json_string();
    let mut response = Response::builder()
        .status(status)
        .content_type(MEDIA_TYPE)
        .body(body);
    let headers = response.headers_mut();
    if let Some(challenge) = find_challenge(error) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Logs an internal error or an unavailable store once, with its causes.
pub fn log(error: &Error) {
    if let Some(source) = error.source() {
        tracing::error!(code = error.code().slug(), error = %Chain(source), "request failed");
    }
}

/// Returns a random delay, so that clients that failed at the same moment do not retry together.
fn choose_jitter(status: StatusCode) -> u64 {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            u64::from(Uuid::new_v4().as_bytes()[0] % RETRY_JITTER_SECONDS)
        }
        _other => 0,
    }
}

/// Returns the value of `WWW-Authenticate` (RFC 6750 section 3).
fn find_challenge(error: &Error) -> Option<HeaderValue> {
    match error {
        Error::InsufficientScope(scope) => {
            let text = format!(
                "Bearer realm=\"latchkey\", error=\"insufficient_scope\", scope=\"{scope}\""
            );
            HeaderValue::try_from(text).ok()
        }
        other => challenge_for_code(other.code()).map(HeaderValue::from_static),
    }
}

/// If the request had no credential, the challenge contains no error code (RFC 6750 section 3.1).
fn challenge_for_code(code: Code) -> Option<&'static str> {
    match code {
        Code::InvalidToken => Some(
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token is invalid\"",
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

/// Errors of an operation, as the OpenAPI document lists them.
pub trait Problems: Send + Sync + 'static {
    /// Returns the error codes.
    fn codes() -> Vec<Code>;
}

/// Errors of every operation.
pub const ALWAYS: &[Code] = &[
    Code::InvalidRequest,
    Code::NotAcceptable,
    Code::Internal,
    Code::Busy,
    Code::Unavailable,
];

/// Errors of operations that require an access token.
pub const TOKEN: &[Code] = &[
    Code::Unauthenticated,
    Code::InvalidToken,
    Code::TokenExpired,
    Code::TokenRevoked,
];

/// Errors of operations that require a scope.
pub const CALLER: &[Code] = &[
    Code::Unauthenticated,
    Code::InvalidToken,
    Code::TokenExpired,
    Code::TokenRevoked,
    Code::Forbidden,
    Code::InsufficientScope,
];

/// Errors of operations with a body.
pub const BODY: &[Code] = &[Code::TooLarge, Code::UnsupportedMediaType];

/// Declares the errors of one operation: first groups, then further codes.
macro_rules! problems {
    ($($name:ident: [$($group:ident),*] $($code:ident)*;)*) => {$(
        #[doc = concat!(
            "Errors of operations that return `Problem<",
            stringify!($name),
            ">`."
        )]
        pub struct $name;

        impl $crate::http::openapi::problem::Problems for $name {
            fn codes() -> Vec<$crate::error::Code> {
                let groups: &[&[$crate::error::Code]] = &[
                    $crate::http::openapi::problem::ALWAYS,
                    $($crate::http::openapi::problem::$group,)*
                    &[$($crate::error::Code::$code),*],
                ];
                groups.concat()
            }
        }
    )*};
}
pub(crate) use problems;

/// An error of an operation that the OpenAPI document lists.
pub struct Problem<P>(Error, PhantomData<P>);

impl<P> From<Error> for Problem<P> {
    fn from(error: Error) -> Self {
        Problem(error, PhantomData)
    }
}

impl<P> From<Problem<P>> for poem::Error {
    fn from(problem: Problem<P>) -> Self {
        problem.0.into()
    }
}

impl<P> fmt::Debug for Problem<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<P: Problems> ApiResponse for Problem<P> {
    /// One response for each status: two with the same status would be a duplicate field.
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
        // The registry requires a static text; the document is generated once per process.
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
