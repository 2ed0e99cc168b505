//! The one error type, and the closed list of codes that people and programs see.
//!
//! What a client reads ([`Code`] and [`Error::detail`]) and what the log says
//! ([`std::error::Error::source`]) are different fields: the first never shows a value that was
//! sent, a type name, SQL or a stack.

use std::{borrow::Cow, error::Error as StdError, fmt};

type Source = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong between a request and its answer.
#[derive(Debug)]
pub enum Error {
    /// 400: the request is malformed; `flaws` name its members, never their values.
    InvalidRequest {
        /// All of it in one sentence.
        detail: Cow<'static, str>,
        /// The members that are wrong.
        flaws: Vec<Flaw>,
    },
    /// 400: the new password is refused by the policy.
    WeakPassword(Cow<'static, str>),
    /// 400: the one-time code is wrong, used, replaced or too old.
    InvalidCode,
    /// 401: no credential was sent.
    Unauthenticated,
    /// 401: the access token is not one of ours, or not for this place.
    InvalidToken,
    /// 401: the access token was good until its `exp`.
    TokenExpired,
    /// 401: the access token, its session or its user's generation was revoked.
    TokenRevoked,
    /// 401: user name and password do not belong together.
    InvalidCredentials,
    /// 401: the refresh token is unknown, ended, idle or over age.
    InvalidRefreshToken,
    /// 401: the refresh token was used before; its session has been ended.
    RefreshTokenReused,
    /// 403: the operation is for others than whoever asks.
    Forbidden,
    /// 403: the token may not be used for this, but one with these scopes.
    InsufficientScope(Cow<'static, str>),
    /// 403: a browser's request that another site may have caused.
    Csrf,
    /// 403: the operation wants a sign-in of the last minutes.
    ReauthenticationRequired,
    /// 403: nobody could administer the gateway any more.
    LastAdmin,
    /// 403: only administrators create accounts here.
    SignupClosed,
    /// 404: nothing here, or nothing of the caller's.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 406: the client does not accept what there is.
    NotAcceptable,
    /// 409: the user name belongs to somebody.
    UsernameTaken,
    /// 409: the address belongs to somebody.
    EmailTaken,
    /// 412: the item has changed since it was read.
    PreconditionFailed,
    /// 413: the body is larger than the limit.
    TooLarge,
    /// 415: the body has another media type; the text says what to send.
    UnsupportedMediaType(&'static str),
    /// 429: too many tries.
    TooManyRequests {
        /// Seconds until the next may be made.
        retry_after: u64,
    },
    /// 500: a fault of ours.
    Internal(Source),
    /// 501: mail is switched off.
    MailOff,
    /// 503: all hash threads are taken for longer than a caller should wait, too many checks wait
    /// for PostgreSQL, or another request has what this one wants.
    Busy,
    /// 503: a store cannot answer.
    Unavailable {
        /// What to tell the reader where the change stands in the record, and only its publication
        /// failed.
        committed: Option<&'static str>,
        /// The cause, for the log.
        source: Source,
    },
}

/// What is wrong with one member of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The member's name, as the client sent it or should have sent it.
    pub member: String,
    /// Why it is refused, in words that follow the name.
    pub reason: Cow<'static, str>,
}

/// Declares [`Code`]: variant, status, title, and the sentence of the page at `/problems/{code}`.
macro_rules! codes {
    ($($variant:ident $status:literal $slug:literal $title:literal $advice:literal;)*) => {
        /// The closed list of problem codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Every code, in the order of the README's table.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The HTTP status that always goes with the code.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// The code as it is written in `code`, and as the last part of `type`.
            pub const fn slug(self) -> &'static str {
                match self { $(Code::$variant => $slug,)* }
            }

            /// The `title`: what kind of problem this is.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// What the reader can do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Code::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    InvalidRequest 400 "invalid_request" "The request is not valid"
        "Mend the members that `errors` names and send it again.";
    WeakPassword 400 "weak_password" "The password is too weak"
        "Choose a longer or a less common password; any characters are welcome.";
    InvalidCode 400 "invalid_code" "The code is not valid"
        "Codes work once and for a few minutes, and a newer one replaces an older: ask for a new \
         code.";
    Unauthenticated 401 "unauthenticated" "Not signed in"
        "Sign in, and send the access token as `Authorization: Bearer …`, or the cookie of \
         `POST /session`.";
    InvalidToken 401 "invalid_token" "The access token is not valid"
        "Sign in again, or get another token: it was not issued by this gateway for this audience.";
    TokenExpired 401 "token_expired" "The access token has expired"
        "Exchange the refresh token at `POST /refresh`; what has none is to be got anew.";
    TokenRevoked 401 "token_revoked" "The access token has been revoked"
        "It was ended, or all that belongs to its session, account, client or key: sign in again, \
         or get another token.";
    InvalidCredentials 401 "invalid_credentials" "Wrong user name or password"
        "Check both; the answer is the same whichever of them is wrong.";
    InvalidRefreshToken 401 "invalid_refresh_token" "The refresh token is not valid"
        "Its session is unknown, over or too old: sign in again.";
    RefreshTokenReused 401 "refresh_token_reused" "The refresh token was used before"
        "The session was ended because a token of it was used twice, which a thief would do: sign \
         in again.";
    Forbidden 403 "forbidden" "Not allowed"
        "The operation is for others: for administrators, or for people who have signed in, and \
         not for their programs or for clients.";
    InsufficientScope 403 "insufficient_scope" "The token may not be used for this"
        "Use a token with the scope that `WWW-Authenticate` names.";
    Csrf 403 "csrf" "The request may come from another site"
        "With a cookie, send `X-Latchkey-Request: 1` with what changes something, from a page of \
         this gateway's origin or of one that it allows; behind a proxy, from a page of the same \
         origin.";
    ReauthenticationRequired 403 "reauthentication_required" "A fresh sign-in is required"
        "Sign in again and repeat the request within five minutes.";
    LastAdmin 403 "last_admin" "The last administrator stays"
        "Make somebody else an administrator first.";
    SignupClosed 403 "signup_closed" "Sign-up is closed"
        "Ask an administrator of this gateway for an account.";
    NotFound 404 "not_found" "Not found"
        "Check the address; what belongs to somebody else is not found either.";
    MethodNotAllowed 405 "method_not_allowed" "The method is not allowed here"
        "Use one of the methods that the `Allow` header names.";
    NotAcceptable 406 "not_acceptable" "No acceptable media type"
        "Answers are `application/json`, and the stream of `GET /revocations` is \
         `text/event-stream`: accept that, or send no `Accept`.";
    UsernameTaken 409 "username_taken" "The user name is taken"
        "Choose another user name, or sign in if it is yours.";
    EmailTaken 409 "email_taken" "The e-mail address is taken"
        "Use another address, or sign in if it is yours.";
    PreconditionFailed 412 "precondition_failed" "It has changed meanwhile"
        "Read it again, apply your change to what is there now, and send the new `ETag` in \
         `If-Match`.";
    TooLarge 413 "too_large" "The request is too large"
        "Send a smaller body.";
    UnsupportedMediaType 415 "unsupported_media_type" "The media type is not supported"
        "Send the media type that `detail` names.";
    TooManyRequests 429 "too_many_requests" "Too many requests"
        "Wait as many seconds as `Retry-After` says.";
    Internal 500 "internal" "Something went wrong on our side"
        "Try again; if it stays, tell the operator the request id.";
    MailOff 501 "mail_off" "Mail is switched off"
        "This gateway sends no mail: ask its operator for a code.";
    Busy 503 "busy" "Too busy at the moment"
        "Wait as many seconds as `Retry-After` says.";
    Unavailable 503 "unavailable" "Temporarily unavailable"
        "A store cannot be reached: wait as many seconds as `Retry-After` says.";
}

impl Error {
    /// A bad request about one member.
    pub fn flaw(member: impl Into<String>, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::from_flaws(vec![Flaw {
            member: member.into(),
            reason: reason.into(),
        }])
    }

    /// A bad request about several members at once.
    pub fn from_flaws(flaws: Vec<Flaw>) -> Error {
        let told: Vec<String> = flaws
            .iter()
            .map(|flaw| format!("`{}` {}", flaw.member, flaw.reason))
            .collect();
        Error::InvalidRequest {
            detail: format!("{}.", told.join("; ")).into(),
            flaws,
        }
    }

    /// A bad request as a whole, where no member can be named.
    pub fn malformed(detail: &'static str) -> Error {
        Error::InvalidRequest {
            detail: detail.into(),
            flaws: Vec::new(),
        }
    }

    /// A fault of ours, with its cause for the log.
    pub fn internal(source: impl Into<Source>) -> Error {
        Error::Internal(source.into())
    }

    /// A store that cannot answer, with its cause for the log.
    pub fn unavailable(source: impl Into<Source>) -> Error {
        Error::Unavailable {
            committed: None,
            source: source.into(),
        }
    }

    /// Marks a failure to publish a change that the record already holds.
    pub fn after_commit(self, told: &'static str) -> Error {
        match self {
            Error::Unavailable { source, .. } => Error::Unavailable {
                committed: Some(told),
                source,
            },
            other => other,
        }
    }

    /// Whether whoever met it has tried something that must not be tried without limit: a store
    /// that is down, or a request that is malformed or not allowed, is no try. Whoever goes on
    /// beyond one limit is counted by the others.
    pub fn is_a_try(&self) -> bool {
        match self.code() {
            Code::InvalidCredentials
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
            | Code::MailOff
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
            Error::Unauthenticated => Code::Unauthenticated,
            Error::InvalidToken => Code::InvalidToken,
            Error::TokenExpired => Code::TokenExpired,
            Error::TokenRevoked => Code::TokenRevoked,
            Error::InvalidCredentials => Code::InvalidCredentials,
            Error::InvalidRefreshToken => Code::InvalidRefreshToken,
            Error::RefreshTokenReused => Code::RefreshTokenReused,
            Error::Forbidden => Code::Forbidden,
            Error::InsufficientScope(_) => Code::InsufficientScope,
            Error::Csrf => Code::Csrf,
            Error::ReauthenticationRequired => Code::ReauthenticationRequired,
            Error::LastAdmin => Code::LastAdmin,
            Error::SignupClosed => Code::SignupClosed,
            Error::NotFound => Code::NotFound,
            Error::MethodNotAllowed => Code::MethodNotAllowed,
            Error::NotAcceptable => Code::NotAcceptable,
            Error::UsernameTaken => Code::UsernameTaken,
            Error::EmailTaken => Code::EmailTaken,
            Error::PreconditionFailed => Code::PreconditionFailed,
            Error::TooLarge => Code::TooLarge,
            Error::UnsupportedMediaType(_) => Code::UnsupportedMediaType,
            Error::TooManyRequests { .. } => Code::TooManyRequests,
            Error::Internal(_) => Code::Internal,
            Error::MailOff => Code::MailOff,
            Error::Busy => Code::Busy,
            Error::Unavailable { .. } => Code::Unavailable,
        }
    }

    /// The one sentence for the reader: what was wrong, and what to do.
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Error::InvalidRequest { detail, .. } | Error::WeakPassword(detail) => detail.clone(),
            Error::UnsupportedMediaType(send) => format!("Send the body as {send}.").into(),
            Error::TooManyRequests { retry_after } => {
                format!("Too many tries; the next may be made in {retry_after} s.").into()
            }
            Error::Unavailable {
                committed: Some(told),
                ..
            } => (*told).into(),
            other => other.code().advice().into(),
        }
    }

    /// Seconds to wait before a repeat, where that is known (RFC 9110 section 10.2.3).
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
        f.write_str(&self.detail())
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

/// A failure with all its causes, for the log: drivers say "db error", and what it was one level
/// below. Of each cause the first line only: PostgreSQL's second one may show a row.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = vec![told(self.0)];
        let mut cause = self.0.source();
        while let Some(error) = cause {
            causes.push(told(error));
            cause = error.source();
        }
        // Drivers tell some causes twice.
        causes.dedup();
        f.write_str(&causes.join(": "))
    }
}

/// An error of ours by its code, because its sentence is for clients; any other by its first line.
fn told(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(ours) => ours.code().slug().to_owned(),
        None => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
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
    fn the_detail_names_every_member_and_no_value() {
        let error = Error::from_flaws(vec![
            Flaw {
                member: "a".into(),
                reason: "must be text".into(),
            },
            Flaw {
                member: "b".into(),
                reason: "is missing".into(),
            },
        ]);
        assert_eq!(error.detail(), "`a` must be text; `b` is missing.");
    }

    #[test]
    fn a_committed_change_says_so() {
        let error = Error::unavailable("down").after_commit("It was made.");
        assert_eq!(error.detail(), "It was made.");
        assert_eq!(error.code(), Code::Unavailable);
    }
}
