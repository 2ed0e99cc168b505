//! Error responses of the OAuth 2.0 endpoints (RFC 6749 section 5.2).

use std::marker::PhantomData;

use poem_openapi::{
    ApiResponse, Object,
    payload::Json,
    registry::{MetaResponses, Registry},
    types::{Example, ToJSON},
};
use serde_json::Value;

use crate::{
    app::tokens::{client_credentials::GrantError, revoke::RevokeError},
    error::{Code, Error},
    http::openapi::problem::{self, Problem, RequestContext, problems},
};

const INVALID_GRANT_DESCRIPTION: &str =
    "The refresh token is invalid, expired, revoked, or was issued to another client.";

/// OAuth 2.0 error (RFC 6749 section 5.2).
#[derive(Debug, Object)]
#[oai(rename = "OAuthError", example)]
pub struct OAuthErrorSchema {
    /// Error code, for program logic.
    error: String,
    /// Description of the error for developers, in ASCII.
    error_description: String,
}

impl Example for OAuthErrorSchema {
    fn example() -> Self {
        OAuthErrorSchema {
            error: "invalid_grant".to_owned(),
            error_description: INVALID_GRANT_DESCRIPTION.to_owned(),
        }
    }
}

/// Error response, by its status.
#[derive(Debug, ApiResponse)]
pub enum OAuthError {
    /// Replaced by the error codes of the operation.
    #[oai(status = 400)]
    BadRequest(Json<OAuthErrorSchema>),
    /// `invalid_client`
    #[oai(status = 401)]
    InvalidClient(
        Json<OAuthErrorSchema>,
        #[oai(header = "WWW-Authenticate")] String,
    ),
    /// `temporarily_unavailable` (rate limit exceeded)
    #[oai(status = 429)]
    TooManyRequests(Json<OAuthErrorSchema>, #[oai(header = "Retry-After")] u64),
    /// `server_error`
    #[oai(status = 500)]
    ServerError(Json<OAuthErrorSchema>),
    /// `temporarily_unavailable`
    #[oai(status = 503)]
    Unavailable(Json<OAuthErrorSchema>, #[oai(header = "Retry-After")] u64),
}

fn error_body(error: &str, description: impl Into<String>) -> Json<OAuthErrorSchema> {
    // RFC 6749 appendix A.8 allows printable ASCII without quotes and backslashes.
    let replace_forbidden = |c: char| {
        if matches!(c, ' ' | '!' | '#'..='[' | ']'..='~') {
            c
        } else {
            '\''
        }
    };
    let error_description = description.into().chars().map(replace_forbidden).collect();
    Json(OAuthErrorSchema {
        error: error.to_owned(),
        error_description,
    })
}

impl OAuthError {
    /// Client authentication failed, or is required and missing.
    pub fn invalid_client() -> OAuthError {
        let description = "Client authentication failed. Send the client_id and client_secret of \
            a registered client.";
        OAuthError::InvalidClient(
            error_body("invalid_client", description),
            "Basic realm=\"latchkey\"".to_owned(),
        )
    }

    /// The requested scope is unknown or exceeds the granted scope.
    pub fn invalid_scope() -> OAuthError {
        OAuthError::BadRequest(error_body(
            "invalid_scope",
            "The requested scope is unknown or exceeds the scope granted.",
        ))
    }

    /// The requested audience is not allowed for the client (RFC 8707).
    pub fn invalid_target() -> OAuthError {
        OAuthError::BadRequest(error_body(
            "invalid_target",
            "The requested resource is not allowed for this client.",
        ))
    }

    /// The grant type is unknown or not supported.
    pub fn unsupported_grant_type() -> OAuthError {
        let description = "Supported grant types: client_credentials, refresh_token. Users sign \
            in at POST /login.";
        OAuthError::BadRequest(error_body("unsupported_grant_type", description))
    }
}

impl From<Error> for OAuthError {
    fn from(error: Error) -> Self {
        problem::log(&error);
        let retry_after = error.retry_after().unwrap_or(1);
        let detail = RequestContext::current().detail(&error, Some(retry_after));
        match error.code() {
            Code::InvalidRefreshToken => {
                OAuthError::BadRequest(error_body("invalid_grant", INVALID_GRANT_DESCRIPTION))
            }
            Code::RefreshTokenReused => OAuthError::BadRequest(error_body("invalid_grant", detail)),
            Code::InsufficientScope => OAuthError::invalid_scope(),
            Code::TooManyRequests => OAuthError::TooManyRequests(
                error_body("temporarily_unavailable", detail),
                retry_after,
            ),
            Code::Busy | Code::Unavailable => {
                OAuthError::Unavailable(error_body("temporarily_unavailable", detail), retry_after)
            }
            Code::Internal => OAuthError::ServerError(error_body("server_error", detail)),
            // The remaining errors concern the form of the request, such as its media type.
            _other => OAuthError::BadRequest(error_body("invalid_request", detail)),
        }
    }
}

impl From<GrantError> for OAuthError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Scope => OAuthError::invalid_scope(),
            GrantError::Audience => OAuthError::invalid_target(),
            GrantError::Failed(error) => error.into(),
        }
    }
}

impl From<RevokeError> for OAuthError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::OtherClient => OAuthError::BadRequest(error_body(
                "unauthorized_client",
                "The token was issued to another client. Revoke the token of a user without client \
                 authentication.",
            )),
            RevokeError::ClientUnauthenticated => OAuthError::invalid_client(),
            RevokeError::Failed(error) => error.into(),
        }
    }
}

/// The errors that one operation returns.
pub trait OAuthErrors: Send + Sync + 'static {
    /// Error codes with status 400, as the OpenAPI document lists them.
    const BAD_REQUEST: &'static str;
    /// Whether the operation has a rate limit.
    const IS_RATE_LIMITED: bool;
}

/// Errors of `POST /oauth/token`.
pub struct IssueTokenErrors;

impl OAuthErrors for IssueTokenErrors {
    const BAD_REQUEST: &'static str = "`invalid_request`, `invalid_grant`, `invalid_scope`, \
        `invalid_target`, `unsupported_grant_type`";
    const IS_RATE_LIMITED: bool = true;
}

/// Errors of `POST /oauth/revoke`.
pub struct RevokeTokenErrors;

impl OAuthErrors for RevokeTokenErrors {
    const BAD_REQUEST: &'static str = "`invalid_request`, `unauthorized_client`";
    const IS_RATE_LIMITED: bool = false;
}

/// Errors of `POST /oauth/introspect`.
pub struct IntrospectTokenErrors;

impl OAuthErrors for IntrospectTokenErrors {
    const BAD_REQUEST: &'static str = "`invalid_request`";
    const IS_RATE_LIMITED: bool = false;
}

problems! {
    // The request middleware returns 406 for every operation.
    NegotiationProblems: [];
}

/// An error of an operation whose documented errors are `E`.
pub struct OperationError<E>(OAuthError, PhantomData<E>);

impl<E: OAuthErrors, T: Into<OAuthError>> From<T> for OperationError<E> {
    fn from(error: T) -> Self {
        OperationError(error.into(), PhantomData)
    }
}

impl<E> From<OperationError<E>> for poem::Error {
    fn from(error: OperationError<E>) -> Self {
        error.0.into()
    }
}

impl<E: OAuthErrors> ApiResponse for OperationError<E> {
    fn meta() -> MetaResponses {
        let mut responses = OAuthError::meta().responses;
        responses.retain(|response| E::IS_RATE_LIMITED || response.status != Some(429));
        for response in &mut responses {
            if response.status == Some(400) {
                response.description = E::BAD_REQUEST;
            }
        }
        let of_negotiation = Problem::<NegotiationProblems>::meta().responses;
        responses.extend(
            of_negotiation
                .into_iter()
                .filter(|response| response.status == Some(406)),
        );
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        OAuthError::register(registry);
        Problem::<NegotiationProblems>::register(registry);
    }
}

/// The most common error of an operation by status, for the OpenAPI document.
pub fn error_example(operation: &str, status: &str) -> Option<Value> {
    let operations = ["issueToken", "revokeToken", "introspectToken"];
    let response = match status {
        _other if !operations.contains(&operation) => return None,
        "400" if operation == "issueToken" => Error::InvalidRefreshToken.into(),
        "400" => Error::invalid_field("token", "is missing").into(),
        "401" => OAuthError::invalid_client(),
        "429" => Error::TooManyRequests { retry_after: 42 }.into(),
        "500" => OAuthError::ServerError(error_body(
            "server_error",
            "An internal error occurred. If it persists, contact the operator with request ID \
             4f1c8a52-0d3b-4e7a-9c61-2b5f8e7d9a10.",
        )),
        "503" => Error::Busy.into(),
        _success => return None,
    };
    let (OAuthError::BadRequest(body)
    | OAuthError::InvalidClient(body, _)
    | OAuthError::TooManyRequests(body, _)
    | OAuthError::ServerError(body)
    | OAuthError::Unavailable(body, _)) = response;
    body.0.to_json()
}
