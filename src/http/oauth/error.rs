//! OAuth error responses (RFC 6749 section 5.2): a code of a closed list, and a text.

use poem_openapi::{
    ApiResponse, Object,
    payload::Json,
    types::{Example, ToJSON},
};
use serde_json::Value;

use crate::{
    app::{GrantError, RevokeError},
    error::{Code, Error},
    http::openapi::problem::{self, RequestContext},
};

const INVALID_GRANT: &str = "The refresh token is invalid, expired, or revoked.";

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
            error_description: INVALID_GRANT.to_owned(),
        }
    }
}

/// An error response, by its status.
#[derive(Debug, ApiResponse)]
pub enum Refusal {
    /// `invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target`,
    /// `unsupported_grant_type`, `unauthorized_client`
    #[oai(status = 400)]
    Refused(Json<OAuthErrorSchema>),
    /// `invalid_client`
    #[oai(status = 401)]
    Unknown(
        Json<OAuthErrorSchema>,
        #[oai(header = "WWW-Authenticate")] String,
    ),
    /// `temporarily_unavailable` (rate limit exceeded)
    #[oai(status = 429)]
    TooMany(Json<OAuthErrorSchema>, #[oai(header = "Retry-After")] u64),
    /// `server_error`
    #[oai(status = 500)]
    Fault(Json<OAuthErrorSchema>),
    /// `temporarily_unavailable`
    #[oai(status = 503)]
    Unavailable(Json<OAuthErrorSchema>, #[oai(header = "Retry-After")] u64),
}

fn told(error: &str, description: impl Into<String>) -> Json<OAuthErrorSchema> {
    // Quotes and characters beyond ASCII are not allowed there (RFC 6749 appendix A.8).
    let plain = |c: char| {
        if matches!(c, ' ' | '!' | '#'..='[' | ']'..='~') {
            c
        } else {
            '\''
        }
    };
    let error_description = description.into().chars().map(plain).collect();
    Json(OAuthErrorSchema {
        error: error.to_owned(),
        error_description,
    })
}

impl Refusal {
    /// The client is not known, its secret is wrong, or it should have said who it is.
    pub fn client() -> Refusal {
        let description = "Client authentication failed. Send the client_id and client_secret of \
            a registered client.";
        Refusal::Unknown(
            told("invalid_client", description),
            "Basic realm=\"latchkey\"".to_owned(),
        )
    }

    /// It asks for a scope that there is not, or that it may not have.
    pub fn scope() -> Refusal {
        Refusal::Refused(told(
            "invalid_scope",
            "The requested scope exceeds the scope granted.",
        ))
    }

    /// It asks for an audience that it may have no token for (RFC 8707).
    pub fn audience() -> Refusal {
        Refusal::Refused(told(
            "invalid_target",
            "The requested resource is not allowed for this client.",
        ))
    }

    /// It asks in a way that there is not.
    pub fn grant_type() -> Refusal {
        let description = "Supported grant types: client_credentials, refresh_token. Users sign \
            in at POST /login.";
        Refusal::Refused(told("unsupported_grant_type", description))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        problem::log(&error);
        let wait = error.retry_after().unwrap_or(1);
        let detail = RequestContext::current().detail(&error, Some(wait));
        match error.code() {
            Code::InvalidRefreshToken => Refusal::Refused(told("invalid_grant", INVALID_GRANT)),
            Code::RefreshTokenReused => Refusal::Refused(told("invalid_grant", detail)),
            Code::InsufficientScope => Refusal::scope(),
            Code::TooManyRequests => {
                Refusal::TooMany(told("temporarily_unavailable", detail), wait)
            }
            Code::Busy | Code::Unavailable => {
                Refusal::Unavailable(told("temporarily_unavailable", detail), wait)
            }
            Code::Internal => Refusal::Fault(told("server_error", detail)),
            // Whatever else may be wrong with a request is wrong with its form.
            _other => Refusal::Refused(told("invalid_request", detail)),
        }
    }
}

impl From<GrantError> for Refusal {
    fn from(why: GrantError) -> Self {
        match why {
            GrantError::Scope => Refusal::scope(),
            GrantError::Audience => Refusal::audience(),
            GrantError::Failed(error) => error.into(),
        }
    }
}

impl From<RevokeError> for Refusal {
    fn from(why: RevokeError) -> Self {
        match why {
            RevokeError::OtherClient => Refusal::Refused(told(
                "unauthorized_client",
                "The token was issued to another client.",
            )),
            RevokeError::ClientUnauthenticated => Refusal::client(),
            RevokeError::Failed(error) => error.into(),
        }
    }
}

/// The most common error of an operation by status, for the OpenAPI document.
pub fn error_example(operation: &str, status: &str) -> Option<Value> {
    let operations = ["issueToken", "revokeToken", "introspectToken"];
    let refusal = match status {
        _other if !operations.contains(&operation) => return None,
        "400" if operation == "issueToken" => Error::InvalidRefreshToken.into(),
        "400" => Error::invalid_field("token", "is missing").into(),
        "401" => Refusal::client(),
        "429" => Error::TooManyRequests { retry_after: 42 }.into(),
        "500" => Refusal::Fault(told(
            "server_error",
            "An internal error occurred. If it persists, contact the operator with request ID \
             4f1c8a52-0d3b-4e7a-9c61-2b5f8e7d9a10.",
        )),
        "503" => Error::Busy.into(),
        _success => return None,
    };
    let (Refusal::Refused(body)
    | Refusal::Unknown(body, _)
    | Refusal::TooMany(body, _)
    | Refusal::Fault(body)
    | Refusal::Unavailable(body, _)) = refusal;
    body.0.to_json()
}
