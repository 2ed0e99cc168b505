//! The error type of the server, and the closed list of error codes.
//!
//! The text for clients ([`Code`] and [`Error::detail`]) and the cause for the log
//! ([`std::error::Error::source`]) are separate. The first never contains a value of the request, a
//! type name, SQL, or a stack trace.

mod chain;
mod code;
mod detail;
mod diagnosis;

use std::{borrow::Cow, error::Error as StdError, fmt};

use latchkey_domain::{access_token::NoRecentSignIn, account::Role, password::WeakPassword};

pub use chain::{Chain, find_cause};
pub use code::{CSRF_HEADER_MISSING, Code};
pub use diagnosis::Diagnosis;

type Source = Box<dyn StdError + Send + Sync>;

/// Everything that can fail between a request and its response.
#[derive(Debug)]
pub enum Error {
    /// 400: the request is malformed. `field_errors` contain names of fields, never their values.
    InvalidRequest {
        /// The text for the client, which describes all invalid fields.
        detail: Cow<'static, str>,
        /// The invalid fields.
        field_errors: Vec<FieldError>,
    },
    /// 400: the password policy rejects the new password, for this reason.
    WeakPassword(WeakPassword),
    /// 400: the one-time code is wrong, used, replaced, or expired.
    InvalidCode,
    /// 400: the code is that of an expired invitation.
    InvitationExpired,
    /// 401: the request has no credential.
    Unauthenticated,
    /// 401: the request has no valid session cookie, on an endpoint that accepts only cookies.
    NoBrowserSession,
    /// 401: the access token isn't one of this server's, or is for another audience.
    InvalidToken,
    /// 401: the access token has expired.
    TokenExpired,
    /// 401: the access token, its session, or its user's generation was revoked.
    TokenRevoked,
    /// 401: username and password don't match.
    InvalidCredentials,
    /// 401: the refresh token is invalid, expired, or revoked.
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
    /// 403: this server registers users without a code.
    SignupWithoutCode,
    /// 404: the resource doesn't exist, or belongs to another user.
    NotFound,
    /// 405: the path doesn't support the method (RFC 9110 section 15.5.6).
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
    /// 409: a group has the name.
    ApplicationTaken,
    GroupTaken,
    /// 409: the group to delete has members.
    GroupHasMembers,
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
    /// 503: password hashes or checks would wait too long, or another request uses the resource.
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
    /// The reason, which follows the name. Never contains the value.
    pub reason: Cow<'static, str>,
}

/// The parts of a response that [`Error::detail`] contains and [`Error`] doesn't.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The request ID; empty outside of a request.
    pub request_id: &'a str,
    /// The value of `Retry-After` in seconds, if the response has one.
    pub retry_after: Option<u64>,
}

impl Error {
    /// Creates an error for one invalid field.
    pub fn invalid_field(field: impl Into<String>, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::from_field_errors(vec![FieldError {
            field: field.into(),
            reason: reason.into(),
        }])
    }

    /// Creates an error for several invalid fields.
    pub fn from_field_errors(field_errors: Vec<FieldError>) -> Error {
        let reasons: Vec<String> = field_errors
            .iter()
            .map(|error| format!("`{}`: {}", error.field, error.reason))
            .collect();
        Error::InvalidRequest {
            detail: format!("{}.", reasons.join("; ")).into(),
            field_errors,
        }
    }

    /// Creates an error for a request that is invalid as a whole, for example a malformed body.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Error {
        Error::InvalidRequest {
            detail: detail.into(),
            field_errors: Vec::new(),
        }
    }

    /// Creates an error for an operation that requires this role.
    pub fn role_required(role: Role) -> Error {
        Error::Forbidden(Cow::Borrowed(match role {
            Role::Admin => {
                "This operation requires the `admin` role. A token without the scope `admin` has \
                 the role `user`."
            }
            Role::User => "This operation requires the `user` role.",
        }))
    }

    /// Creates an error for a check that requires a group.
    pub fn group_required() -> Error {
        Error::Forbidden(
            "This application allows only members of a required group. Ask an administrator to \
             add the user to the group. OAuth clients can't be members."
                .into(),
        )
    }

    /// Creates an error for an operation that requires a user session.
    pub fn session_required() -> Error {
        Error::Forbidden(
            "This operation requires a user session; personal access tokens and OAuth clients \
             can't use it."
                .into(),
        )
    }

    /// Creates an error for an unexpected failure, with its cause for the log.
    pub fn internal(source: impl Into<Source>) -> Error {
        Error::Internal(source.into())
    }

    /// Creates an error for an unavailable store, with its cause for the log.
    pub fn unavailable(source: impl Into<Source>) -> Error {
        Error::Unavailable {
            committed: None,
            source: source.into(),
        }
    }

    /// Replaces the text for the client, because the change is committed and only its publication
    /// failed. Errors other than [`Error::Unavailable`] are unchanged.
    pub fn after_commit(self, detail: &'static str) -> Error {
        match self {
            Error::Unavailable { source, .. } => Error::Unavailable {
                committed: Some(detail),
                source,
            },
            other => other,
        }
    }

    /// Returns whether the request counts as an attempt against rate limits.
    ///
    /// A malformed or denied request and an unavailable store don't count. A request beyond one
    /// limit still counts against the others.
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
            | Code::ApplicationTaken
            | Code::GroupTaken
            | Code::GroupHasMembers
            | Code::PreconditionFailed
            | Code::TooLarge
            | Code::UnsupportedMediaType
            | Code::Internal
            | Code::EmailDisabled
            | Code::Busy
            | Code::Unavailable => false,
        }
    }

    /// Returns the error code, on which clients base their decisions.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidRequest { .. } => Code::InvalidRequest,
            Error::WeakPassword(_) => Code::WeakPassword,
            Error::InvalidCode | Error::InvitationExpired => Code::InvalidCode,
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
            Error::SignupClosed | Error::SignupWithoutCode => Code::SignupClosed,
            Error::NotFound => Code::NotFound,
            Error::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Error::NotAcceptable(_) => Code::NotAcceptable,
            Error::UsernameTaken => Code::UsernameTaken,
            Error::EmailTaken => Code::EmailTaken,
            Error::ApplicationTaken => Code::ApplicationTaken,
            Error::GroupTaken => Code::GroupTaken,
            Error::GroupHasMembers => Code::GroupHasMembers,
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

    /// Returns the minimum `Retry-After` in seconds, for errors that have one (RFC 9110 section
    /// 10.2.3).
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Error::TooManyRequests { retry_after } => Some(*retry_after),
            Error::Busy | Error::Unavailable { .. } => Some(1),
            _other => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail(Context::default()))
    }
}

impl From<NoRecentSignIn> for Error {
    fn from(error: NoRecentSignIn) -> Error {
        match error {
            NoRecentSignIn::NoSession => Error::session_required(),
            NoRecentSignIn::Expired => Error::ReauthenticationRequired,
        }
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
    fn slugs_are_unique_and_snake_case() {
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
}
