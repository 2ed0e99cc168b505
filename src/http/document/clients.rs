//! Client authentication of OAuth clients.
//!
//! The extractor of a form also authenticates the client (`src/http/oauth/client_auth.rs`). It
//! declares no security scheme, so the scheme is added to the document here.

use serde_json::{Value, json};

/// Name of the security scheme.
pub const SCHEME: &str = "clientBasic";

/// Operations that require client authentication.
const REQUIRED_FOR: [&str; 1] = ["introspectToken"];

/// Operations with optional client authentication.
const OPTIONAL_FOR: [&str; 2] = ["issueToken", "revokeToken"];

/// Adds the security scheme to the document.
pub fn add_scheme(document: &mut Value) {
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "basic",
        "description": "OAuth client: `client_id` and `client_secret` (RFC 6749 section 2.3.1). \
            They can also be sent in the form.",
    });
}

/// Adds the security scheme to an operation with client authentication.
pub fn patch(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    if REQUIRED_FOR.contains(&id) {
        operation["security"] = json!([{ SCHEME: [] }]);
    } else if OPTIONAL_FOR.contains(&id) {
        operation["security"] = json!([{ SCHEME: [] }, {}]);
    }
}
