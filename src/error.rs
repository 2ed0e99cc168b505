//! The one error type, and the closed list of error codes.
//!
//! The text for clients ([`Code`] and [`Error::detail`]) and the cause for the log
//! ([`std::error::Error::source`]) are separate. The first never contains a value of the request, a
//! type name, SQL, or a stack trace.

mod chain;
mod code;

use std::{borrow::Cow, error::Error as StdError, fmt};

pub use chain::Chain;
pub use code::Code;

type Source = Box<dyn StdError + Send + Sync>;

/// Everything that can fail between a request and its response.
#[derive(Debug)]
pub enum Error {
    /// 400: the request is malformed; `field_errors` name its fields, never their values.
    InvalidRequest {
        /// All of it in one text.
        detail: Cow<'static, str>,
        /// The invalid fields.
        field_errors: Vec<FieldError>,
    },
    /// 400: the password policy rejects the new password, for this reason.
    WeakPassword(Cow<'static, str>),
    /// 400: the one-time code is wrong, used, replaced, or expired.
    InvalidCode,
    /// 401: the request has no credential.
    Unauthenticated,
    /// 401: the request has no valid session cookie, where only a cookie counts.
    NoBrowserSession,
    /// 401: the access token isn't one of this server's, or is for another audience.
    InvalidToken,
    /// 401: the access token has expired.
    TokenExpired,
    /// 401: the access token, its session, or its user's generation was revoked.
    TokenRevoked,
    /// 401: username and password don't match.
    InvalidCredentials,
    /// 401: the refresh token is unknown, revoked, idle, or expired.
    InvalidRefreshToken,
    /// 401: the refresh token was used before; its session was revoked.
    RefreshTokenReused,
    /// 403: the current password of the signed-in user is incorrect.
    IncorrectPassword,
    /// 403: the operation requires another role or type of token; the text contains which.
    Forbidden(Cow<'static, str>),
    /// 403: the token lacks one of these scopes.
    InsufficientScope(Cow<'static, str>),
    /// 403: another site might have caused the request; the text contains the evidence.
    Csrf(&'static str),
    /// 403: the operation requires a recent sign-in.
    ReauthenticationRequired,
    /// 403: no enabled administrator would remain.
    LastAdmin,
    /// 403: only administrators create users on this server.
    SignupClosed,
    /// 404: the resource doesn't exist, or isn't the caller's.
    NotFound,
    /// 405: the path exists, the method doesn't.
    MethodNotAllowed {
        /// The method of the request, if it is a registered one.
        method: Option<String>,
        /// The methods of the path, separated by commas.
        allowed: Option<String>,
    },
    /// 406: the client doesn't accept this media type, and the endpoint has no other.
    NotAcceptable(&'static str),
    /// 409: another user has the username.
    UsernameTaken,
    /// 409: another user has the email address.
    EmailTaken,
    /// 412: the item has changed since it was read.
    PreconditionFailed,
    /// 413: the body is larger than this number of bytes.
    TooLarge(usize),
    /// 415: the body has another media type; the text contains those that are supported.
    UnsupportedMediaType(&'static str),
    /// 429: a rate limit was exceeded.
    TooManyRequests {
        /// Seconds until the next attempt is allowed.
        retry_after: u64,
    },
    /// 500: an unexpected failure.
    Internal(Source),
    /// 501: email is disabled; the text contains the fix, if there is one.
    EmailDisabled(Option<&'static str>),
    /// 503: hash jobs or checks wait for too long, or another request uses the same resource.
    Busy,
    /// 503: a store is unavailable.
    Unavailable {
        /// The text for the client if the change is committed and only its publication failed.
        committed: Option<&'static str>,
        /// The cause, for the log.
        source: Source,
    },
}

/// One invalid field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The name of the field, parameter, or header.
    pub field: String,
    /// The reason, which stands alone after the name.
    pub reason: Cow<'static, str>,
}

/// The parts of a response that an [`Error::detail`] contains and the error doesn't know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The request ID; empty where there is no request.
    pub request_id: &'a str,
    /// The value of `Retry-After`, if the response has one.
    pub retry_after: Option<u64>,
}

impl Error {
    /// An invalid request with one invalid field.
    pub fn invalid_field(field: impl Into<String>, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::from_field_errors(vec![FieldError {
            field: field.into(),
            reason: reason.into(),
        }])
    }

    /// An invalid request with several invalid fields.
    pub fn from_field_errors(field_errors: Vec<FieldError>) -> Error {
        let reasons: Vec<String> = field_errors
            .iter()
            .map(|invalid_field| format!("`{}`: {}", invalid_field.field, invalid_field.reason))
            .collect();
        Error::InvalidRequest {
            detail: format!("{}.", reasons.join("; ")).into(),
            field_errors,
        }
    }

    /// An invalid request as a whole, where no field can be named.
    pub fn malformed(detail: &'static str) -> Error {
        Error::InvalidRequest {
            detail: detail.into(),
            field_errors: Vec::new(),
        }
    }

    /// The operation requires this role.
    pub fn role_required(role: &str) -> Error {
        Error::Forbidden(format!("This operation requires the `{role}` role.").into())
    }

    /// The operation requires a signed-in user.
    pub fn session_required() -> Error {
        Error::Forbidden(
            "This operation requires a user session; personal access tokens and OAuth clients \
             can't use it."
                .into(),
        )
    }

    /// An unexpected failure, with its cause for the log.
    pub fn internal(source: impl Into<Source>) -> Error {
        Error::Internal(source.into())
    }

    /// An unavailable store, with its cause for the log.
    pub fn unavailable(source: impl Into<Source>) -> Error {
        Error::Unavailable {
            committed: None,
            source: source.into(),
        }
    }

    /// Marks a failure to publish a committed change.
    pub fn after_commit(self, detail: &'static str) -> Error {
        match self {
            Error::Unavailable { source, .. } => Error::Unavailable {
                committed: Some(detail),
                source,
            },
            other => other,
        }
    }

    /// Whether it counts against a rate limit: an unavailable store and a malformed or denied
    /// request don't. A request beyond one limit still counts against the others.
    pub fn counts_as_attempt(&self) -> bool {
        match self.code() {
            Code::InvalidCredentials
            | Code::IncorrectPassword
            | Code::InvalidCode
            | Code::InvalidRefreshToken
            | Code::RefreshTokenReused
            | Code::UsernameTaken
            | Code::EmailTaken
            | Code::TooManyRequests => true,
            Code::InvalidRequest
            | Code::WeakPassword
            | Code::Unauthenticated
            | Code::InvalidToken
            | Code::TokenExpired
            | Code::TokenRevoked
            | Code::Forbidden
            | Code::Csrf
            | Code::InsufficientScope
            | Code::ReauthenticationRequired
            | Code::LastAdmin
            | Code::SignupClosed
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::NotAcceptable
            | Code::PreconditionFailed
            | Code::TooLarge
            | Code::UnsupportedMediaType
            | Code::Internal
            | Code::EmailDisabled
            | Code::Busy
            | Code::Unavailable => false,
        }
    }

    /// The code that clients decide by.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidRequest { .. } => Code::InvalidRequest,
            Error::WeakPassword(_) => Code::WeakPassword,
            Error::InvalidCode => Code::InvalidCode,
            Error::Unauthenticated | Error::NoBrowserSession => Code::Unauthenticated,
            Error::InvalidToken => Code::InvalidToken,
            Error::TokenExpired => Code::TokenExpired,
            Error::TokenRevoked => Code::TokenRevoked,
            Error::InvalidCredentials => Code::InvalidCredentials,
            Error::InvalidRefreshToken => Code::InvalidRefreshToken,
            Error::RefreshTokenReused => Code::RefreshTokenReused,
            Error::IncorrectPassword => Code::IncorrectPassword,
            Error::Forbidden(_) => Code::Forbidden,
            Error::InsufficientScope(_) => Code::InsufficientScope,
            Error::Csrf(_) => Code::Csrf,
            Error::ReauthenticationRequired => Code::ReauthenticationRequired,
            Error::LastAdmin => Code::LastAdmin,
            Error::SignupClosed => Code::SignupClosed,
            Error::NotFound => Code::NotFound,
            Error::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Error::NotAcceptable(_) => Code::NotAcceptable,
            Error::UsernameTaken => Code::UsernameTaken,
            Error::EmailTaken => Code::EmailTaken,
            Error::PreconditionFailed => Code::PreconditionFailed,
            Error::TooLarge(_) => Code::TooLarge,
            Error::UnsupportedMediaType(_) => Code::UnsupportedMediaType,
            Error::TooManyRequests { .. } => Code::TooManyRequests,
            Error::Internal(_) => Code::Internal,
            Error::EmailDisabled(_) => Code::EmailDisabled,
            Error::Busy => Code::Busy,
            Error::Unavailable { .. } => Code::Unavailable,
        }
    }

    /// The value of `detail`: the cause in this case, then the fix.
    pub fn detail(&self, context: Context) -> Cow<'static, str> {
        match self {
            Error::InvalidRequest { detail, .. }
            | Error::WeakPassword(detail)
            | Error::Forbidden(detail) => detail.clone(),
            Error::Csrf(detail) => (*detail).into(),
            Error::InsufficientScope(scope) => {
                let noun = if scope.contains(' ') {
                    "scopes"
                } else {
                    "scope"
                };
                format!("This operation requires the {noun} `{scope}`.").into()
            }
            Error::MethodNotAllowed { method, allowed } => {
                let method = method.as_deref().unwrap_or("This method");
                let allowed = allowed.as_deref().map(|them| format!(" Allowed: {them}."));
                format!(
                    "{method} is not supported here.{}",
                    allowed.unwrap_or_default()
                )
                .into()
            }
            Error::NotAcceptable(offered) => {
                format!("This endpoint returns {offered}. Change or omit `Accept`.").into()
            }
            Error::TooLarge(limit) => {
                format!("The request body exceeds {} bytes.", grouped(*limit)).into()
            }
            Error::UnsupportedMediaType(supported) => {
                format!("Send the body as {supported}.").into()
            }
            Error::EmailDisabled(Some(fix)) => {
                format!("{} {fix}", Code::EmailDisabled.cause()).into()
            }
            Error::TooManyRequests { .. } => later("Rate limit exceeded.", context),
            Error::Busy => later("The server is overloaded.", context),
            Error::Unavailable {
                committed: Some(detail),
                ..
            } => (*detail).into(),
            Error::Unavailable { .. } => later("A required service is unavailable.", context),
            Error::Internal(_) if !context.request_id.is_empty() => format!(
                "An internal error occurred. If it persists, contact the operator with request ID \
                 {}.",
                context.request_id
            )
            .into(),
            other => other.fixed_detail().into(),
        }
    }

    /// The text of an error that is the same in every case.
    fn fixed_detail(&self) -> &'static str {
        match self {
            Error::InvalidCode => {
                "The code is wrong, expired, or already used. Request a new code."
            }
            Error::Unauthenticated => {
                "The request has no access token or session cookie. Send `Authorization: Bearer \
                 TOKEN`."
            }
            Error::NoBrowserSession => {
                "The request has no valid session cookie. Sign in with `POST /session`."
            }
            Error::InvalidToken => {
                "The access token is malformed or wasn't issued by this server for this audience."
            }
            Error::TokenExpired => {
                "The access token has expired. Use the refresh token, or sign in again."
            }
            Error::TokenRevoked => {
                "The access token has been revoked. Sign in again or request a new token."
            }
            Error::InvalidCredentials => "The username or password is incorrect.",
            Error::InvalidRefreshToken => {
                "The refresh token is invalid, expired, or revoked. Sign in again."
            }
            Error::RefreshTokenReused => {
                "This refresh token was already used, so the session was revoked. Sign in again."
            }
            Error::IncorrectPassword => "The current password is incorrect.",
            Error::ReauthenticationRequired => {
                "This operation requires a sign-in within the last five minutes. Sign in again."
            }
            Error::LastAdmin => {
                "At least one enabled administrator must remain. Grant the role to another user \
                 first."
            }
            Error::UsernameTaken => "This username is already in use.",
            Error::EmailTaken => "This email address is already in use.",
            Error::PreconditionFailed => {
                "The item changed since you read it. Get it again and retry with the new ETag."
            }
            Error::Internal(_) => "An internal error occurred.",
            other => other.code().cause(),
        }
    }

    /// The shortest `Retry-After` in seconds, for errors that have one (RFC 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Error::TooManyRequests { retry_after } => Some(*retry_after),
            Error::Busy | Error::Unavailable { .. } => Some(1),
            _other => None,
        }
    }
}

/// A text, and when to try again.
fn later(cause: &str, context: Context) -> Cow<'static, str> {
    match context.retry_after {
        None => format!("{cause} Try again later."),
        Some(1) => format!("{cause} Try again in 1 second."),
        Some(seconds) => format!("{cause} Try again in {seconds} seconds."),
    }
    .into()
}

/// A number with a comma between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail(Context::default()))
    }
}

impl From<latchkey_domain::password::HashError> for Error {
    fn from(error: latchkey_domain::password::HashError) -> Error {
        Error::internal(error)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Internal(source) | Error::Unavailable { source, .. } => Some(source.as_ref()),
            _other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slug_is_unique_and_snake_case() {
        let mut slugs: Vec<_> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert!(
            slugs
                .iter()
                .all(|slug| slug.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        );
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Code::ALL.len());
    }

    #[test]
    fn detail_names_every_field_and_no_value() {
        let error = Error::from_field_errors(vec![
            FieldError {
                field: "a".into(),
                reason: "must be a string".into(),
            },
            FieldError {
                field: "b".into(),
                reason: "is missing".into(),
            },
        ]);
        assert_eq!(error.to_string(), "`a`: must be a string; `b`: is missing.");
    }

    #[test]
    fn detail_of_committed_change_replaces_cause() {
        let error = Error::unavailable("down").after_commit("The change is saved.");
        assert_eq!(error.to_string(), "The change is saved.");
        assert_eq!(error.code(), Code::Unavailable);
    }

    #[test]
    fn detail_contains_limit_wait_and_request_id() {
        let context = Context {
            request_id: "abc",
            retry_after: Some(1),
        };
        for (error, expected) in [
            (
                Error::TooLarge(65_536),
                "The request body exceeds 65,536 bytes.",
            ),
            (
                Error::Busy,
                "The server is overloaded. Try again in 1 second.",
            ),
            (
                Error::internal("down"),
                "An internal error occurred. If it persists, contact the operator with request ID \
                 abc.",
            ),
        ] {
            assert_eq!(error.detail(context), expected);
        }
        assert_eq!(
            (grouped(1), grouped(999), grouped(1_048_576)),
            ("1".into(), "999".into(), "1,048,576".into())
        );
    }
}
