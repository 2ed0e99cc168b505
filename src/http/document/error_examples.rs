//! Examples of errors. For each operation, an example shows the most frequent error of its code.

use latchkey_domain::scope::Scope;
use serde_json::{Value, json};

use crate::{
    error::{Code, Error},
    http::{
        api::revocation_stream,
        auth::caller,
        forward_auth,
        openapi::{params::Limit, problem},
    },
};

/// The invalid field of an operation, and the reason. Operations that are not listed have a page
/// size or accept no input.
const INVALID_FIELDS: [(&str, &str, &str); 25] = [
    (
        "signUp",
        "email",
        "must be an email address such as `john@example.com`",
    ),
    (
        "confirmSignUp",
        "code",
        "must be the 10-character code from the email",
    ),
    ("signIn", "password", "is missing"),
    ("createBrowserSession", "password", "is missing"),
    ("refreshTokens", "refresh_token", "is missing"),
    ("signOut", "scope", "must be `session`, `others`, or `all`"),
    (
        "updateCurrentUser",
        "username",
        "must contain only letters, digits, `.`, `_`, and `-`",
    ),
    ("changePassword", "current_password", "is missing"),
    (
        "requestEmailChange",
        "email",
        "must be an email address such as `john@example.com`",
    ),
    (
        "verifyEmail",
        "code",
        "must be the 10-character code from the email",
    ),
    (
        "requestPasswordReset",
        "email",
        "must be an email address such as `john@example.com`",
    ),
    (
        "resetPassword",
        "code",
        "must be the 10-character code from the email",
    ),
    (
        "createPersonalAccessToken",
        "expires_at",
        "must be in the future, at most 366 days from now",
    ),
    ("createItem", "name", "is missing"),
    ("replaceItem", "name", "is missing"),
    ("updateItem", "name", "must not be null"),
    (
        "createUser",
        "email",
        "is required without `password` (the invitation is sent there)",
    ),
    ("replaceUser", "disabled", "is missing"),
    ("updateUser", "role", "must be `user` or `admin`"),
    ("createOAuthClient", "scope", "is missing"),
    ("verifyRequest", "role", "must be `user` or `admin`"),
    // Operations without input. Every request can contain a duplicate query parameter.
    ("getJwks", "QUERY-PARAMETER", "is duplicated"),
    (
        "getAuthorizationServerMetadata",
        "QUERY-PARAMETER",
        "is duplicated",
    ),
    ("getBrowserSession", "QUERY-PARAMETER", "is duplicated"),
    ("deleteBrowserSession", "QUERY-PARAMETER", "is duplicated"),
];

/// Operations that require a scope only for some parameters or callers.
const CONDITIONAL_SCOPES: [(&str, Scope); 2] = [
    ("signOut", Scope::UserWrite),
    ("streamRevocations", Scope::RevocationsRead),
];

/// Properties of an operation that determine its examples.
pub struct ExampleContext {
    operation: String,
    /// The scope that the operation requires.
    scope: Option<String>,
    has_limit: bool,
    /// Whether the session cookie is the only credential.
    is_for_browsers: bool,
    is_stream: bool,
}

/// Operations that require a session, so personal access tokens are rejected.
const FOR_SESSIONS: [&str; 9] = [
    "signOut",
    "deleteCurrentUser",
    "changePassword",
    "requestEmailChange",
    "verifyEmail",
    "createPersonalAccessToken",
    "createUser",
    "createOAuthClient",
    "rotateOAuthClientSecret",
];

/// Scopes of operations that require the role `admin`.
const FOR_ADMINS: [&str; 2] = ["admin", "revocations:read"];

impl ExampleContext {
    /// Reads the properties of an operation.
    pub fn from_operation(operation: &Value) -> ExampleContext {
        let mut scopes = operation["security"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flat_map(|requirement| requirement.values())
            .filter_map(|scopes| scopes[0].as_str());
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        let id = operation["operationId"].as_str().unwrap_or_default();
        let conditional_scope = CONDITIONAL_SCOPES
            .iter()
            .find_map(|(operation, scope)| (*operation == id).then(|| scope.as_str()));
        ExampleContext {
            operation: id.to_owned(),
            scope: conditional_scope.or(scopes.next()).map(str::to_owned),
            has_limit: parameters.any(|parameter| parameter["name"] == "limit"),
            is_for_browsers: operation["security"] == json!([{ (caller::COOKIE): [] }]),
            is_stream: operation["responses"]["200"]["content"][revocation_stream::MEDIA_TYPE]
                .is_object(),
        }
    }

    /// Returns the body of the error with this code.
    pub fn example(&self, code: Code) -> Value {
        problem::example_body(&self.error(code)).unwrap_or_default()
    }

    fn error(&self, code: Code) -> Error {
        match (code, self.scope.as_deref()) {
            (Code::InvalidRequest, _) => self.invalid_request(),
            (Code::InsufficientScope, Some(scope)) => {
                Error::InsufficientScope(scope.to_owned().into())
            }
            (Code::Forbidden, _) if FOR_SESSIONS.contains(&self.operation.as_str()) => {
                Error::session_required()
            }
            (Code::Forbidden, Some(scope)) if !FOR_ADMINS.contains(&scope) => {
                caller::user_required()
            }
            (Code::Csrf, _) if self.operation == "verifyRequest" => {
                Error::Csrf(forward_auth::ORIGIN_REQUIRED)
            }
            (Code::Unauthenticated, _) if self.is_for_browsers => Error::NoBrowserSession,
            (Code::NotAcceptable, _) if self.is_stream => {
                Error::NotAcceptable(revocation_stream::MEDIA_TYPE)
            }
            _other => problem::example(code),
        }
    }

    fn invalid_request(&self) -> Error {
        let listed = INVALID_FIELDS
            .iter()
            .find(|(operation, ..)| *operation == self.operation);
        match listed {
            Some((_, field, reason)) => Error::invalid_field(*field, *reason),
            None if self.has_limit => Error::invalid_field("limit", Limit::RULE),
            // The operation has no input, but any request can contain a duplicate header.
            None => Error::invalid_field("Authorization", "is duplicated"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document;

    #[test]
    fn tables_list_existing_operations() {
        let ids: Vec<_> = document::list_operations()
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        let listed = INVALID_FIELDS.iter().map(|(operation, ..)| operation);
        let conditional = CONDITIONAL_SCOPES.iter().map(|(operation, _)| operation);
        for operation in listed.chain(&FOR_SESSIONS).chain(conditional) {
            assert!(ids.contains(operation), "{operation}");
        }
    }
}
