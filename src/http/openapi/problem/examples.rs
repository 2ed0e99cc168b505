//! One example of each error, for the OpenAPI document and for the page of its code.

use latchkey_domain::{account::Role, password::WeakPassword};
use poem::http::HeaderValue;
use poem_openapi::types::ToJSON;
use serde_json::Value;

use crate::{
    error::{CSRF_HEADER_MISSING, Code, Error},
    http::openapi::{
        body::JSON,
        problem::body::{ProblemBody, RequestContext, pages_url},
    },
};

const ISSUER: &str = "https://auth.example.com";
const REQUEST_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const RETRY_AFTER_SECONDS: u64 = 42;

/// Returns the body of an error in the response to a sample request.
pub(crate) fn body(error: &Error) -> ProblemBody {
    let context = RequestContext {
        id: HeaderValue::from_static(REQUEST_ID),
        pages: pages_url(ISSUER).into(),
    };
    ProblemBody::new(
        error,
        &context,
        error.retry_after().map(|_| RETRY_AFTER_SECONDS),
    )
}

/// Returns the body of an error as a JSON value.
pub fn value(error: &Error) -> Option<Value> {
    body(error).to_json()
}

/// Returns a typical error with this code.
pub fn error(code: Code) -> Error {
    match code {
        Code::InvalidRequest => Error::invalid_field("password", "is missing"),
        Code::WeakPassword => Error::WeakPassword(WeakPassword::TooShort(8)),
        Code::InvalidCode => Error::InvalidCode,
        Code::Unauthenticated => Error::Unauthenticated,
        Code::InvalidToken => Error::InvalidToken,
        Code::TokenExpired => Error::TokenExpired,
        Code::TokenRevoked => Error::TokenRevoked,
        Code::InvalidCredentials => Error::InvalidCredentials,
        Code::InvalidRefreshToken => Error::InvalidRefreshToken,
        Code::RefreshTokenReused => Error::RefreshTokenReused,
        Code::IncorrectPassword => Error::IncorrectPassword,
        Code::Forbidden => Error::role_required(Role::Admin),
        Code::InsufficientScope => Error::InsufficientScope("user:read".into()),
        Code::Csrf => Error::Csrf(CSRF_HEADER_MISSING),
        Code::ReauthenticationRequired => Error::ReauthenticationRequired,
        Code::LastAdmin => Error::LastAdmin,
        Code::SignupClosed => Error::SignupClosed,
        Code::NotFound => Error::NotFound,
        Code::MethodNotAllowed => Error::MethodNotAllowed {
            method: Some("PUT".to_owned()),
            allowed: Some("POST".to_owned()),
        },
        Code::NotAcceptable => Error::NotAcceptable(JSON),
        Code::UsernameTaken => Error::UsernameTaken,
        Code::EmailTaken => Error::EmailTaken,
        Code::ApplicationTaken => Error::ApplicationTaken,
        Code::GroupTaken => Error::GroupTaken,
        Code::GroupHasMembers => Error::GroupHasMembers,
        Code::PreconditionFailed => Error::PreconditionFailed,
        Code::TooLarge => Error::TooLarge(65_536),
        Code::UnsupportedMediaType => Error::UnsupportedMediaType("`application/json`"),
        Code::TooManyRequests => Error::TooManyRequests {
            retry_after: RETRY_AFTER_SECONDS,
        },
        Code::Internal => Error::internal("an example"),
        Code::EmailDisabled => Error::EmailDisabled(None),
        Code::Busy => Error::Busy,
        Code::Unavailable => Error::unavailable("an example"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_has_requested_code() {
        for code in Code::ALL {
            assert_eq!(error(*code).code(), *code);
        }
    }
}
