//! The texts of errors for clients: the value of `detail`.

use std::borrow::Cow;

use super::{Code, Context, Error};

impl Error {
    /// Returns the value of `detail` (RFC 9457 section 3.1.4): the cause, then the fix.
    pub fn detail(&self, context: Context) -> Cow<'static, str> {
        match self {
            Error::InvalidRequest { detail, .. } | Error::Forbidden(detail) => detail.clone(),
            Error::WeakPassword(reason) => reason.to_string().into(),
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
                let allowed = allowed.as_deref().map(|list| format!(" Allowed: {list}."));
                format!(
                    "{method} is not supported here.{}",
                    allowed.unwrap_or_default()
                )
                .into()
            }
            Error::NotAcceptable(supported) => {
                format!("This endpoint returns {supported}. Change or omit `Accept`.").into()
            }
            Error::TooLarge(limit) => {
                format!("The request body exceeds {} bytes.", group_digits(*limit)).into()
            }
            Error::UnsupportedMediaType(supported) => {
                format!("Send the body as {supported}.").into()
            }
            Error::EmailDisabled(Some(fix)) => {
                format!("{} {fix}", Code::EmailDisabled.cause()).into()
            }
            Error::TooManyRequests { .. } => with_retry_time("Rate limit exceeded.", context),
            Error::Busy => with_retry_time("The server is busy.", context),
            Error::Unavailable {
                committed: Some(detail),
                ..
            } => (*detail).into(),
            Error::Unavailable { .. } => {
                with_retry_time("A required service is unavailable.", context)
            }
            Error::Internal(_) if !context.request_id.is_empty() => format!(
                "An internal error occurred. If it persists, contact the operator with request ID \
                 {}.",
                context.request_id
            )
            .into(),
            other => other.fixed_detail().into(),
        }
    }

    /// Returns the text of an error whose text contains no values.
    fn fixed_detail(&self) -> &'static str {
        match self {
            Error::InvalidCode => {
                "The code is wrong, expired, or already used. Request a new code."
            }
            Error::InvitationExpired => {
                "This invitation has expired. Ask your administrator for a new one."
            }
            Error::Unauthenticated => {
                "The request has no access token or session cookie. Send `Authorization: Bearer \
                 TOKEN`."
            }
            Error::NoBrowserSession => {
                "The request has no valid session cookie. Sign in with `POST /session`."
            }
            Error::InvalidToken => {
                "The access token is malformed or wasn't issued by this server for this audience. \
                 Sign in again or request a new token."
            }
            Error::TokenExpired => {
                "The access token has expired. Use the refresh token, sign in again, or request a \
                 new token."
            }
            Error::TokenRevoked => {
                "The access token has been revoked. Use the refresh token, sign in again, or \
                 request a new token."
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
            Error::SignupClosed => "Only administrators can create users on this server.",
            Error::SignupWithoutCode => {
                "This server registers users without a code. Use `POST /signup`."
            }
            Error::LastAdmin => {
                "At least one enabled administrator must remain. Grant the role to another user \
                 first."
            }
            Error::UsernameTaken => "This username is in use or was in use recently.",
            Error::EmailTaken => "This email address is in use or was in use recently.",
            Error::ApplicationTaken => "An application with this origin exists.",
            Error::GroupTaken => "A group with this name exists.",
            Error::GroupHasMembers => "The group has members; remove them first.",
            Error::PreconditionFailed => {
                "The item changed since you read it. Get it again and retry with the new ETag."
            }
            Error::Internal(_) => "An internal error occurred.",
            other => other.code().cause(),
        }
    }
}

/// Appends the time of the next attempt to a text.
fn with_retry_time(cause: &str, context: Context) -> Cow<'static, str> {
    match context.retry_after {
        None => format!("{cause} Try again later."),
        Some(1) => format!("{cause} Try again in 1 second."),
        Some(seconds) => format!("{cause} Try again in {seconds} seconds."),
    }
    .into()
}

/// Formats a number with a comma between groups of three digits.
fn group_digits(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FieldError;

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
            (Error::Busy, "The server is busy. Try again in 1 second."),
            (
                Error::internal("down"),
                "An internal error occurred. If it persists, contact the operator with request ID \
                 abc.",
            ),
        ] {
            assert_eq!(error.detail(context), expected);
        }
        assert_eq!(
            (group_digits(1), group_digits(999), group_digits(1_048_576)),
            ("1".into(), "999".into(), "1,048,576".into())
        );
    }
}
