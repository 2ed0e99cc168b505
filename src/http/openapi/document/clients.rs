//! How OAuth clients prove who they are. The framework knows extractors of tokens and cookies; a
//! client's proof is part of what its form is read with (`oauth/asker.rs`).

use serde_json::{Value, json};

/// The scheme's name in the document.
pub const SCHEME: &str = "clientBasic";

/// Operations for registered clients alone.
const FOR_CLIENTS: [&str; 1] = ["introspectToken"];

/// Operations where a client may prove who it is.
const FOR_ALL: [&str; 2] = ["issueToken", "revokeToken"];

/// Adds the scheme.
pub fn add_scheme(document: &mut Value) {
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "basic",
        "description": "OAuth client: `client_id` and `client_secret` (RFC 6749 section 2.3.1). \
            They can also be sent in the form.",
    });
}

/// Says it of the operations.
pub fn patch(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    if FOR_CLIENTS.contains(&id) {
        operation["security"] = json!([{ SCHEME: [] }]);
    } else if FOR_ALL.contains(&id) {
        operation["security"] = json!([{ SCHEME: [] }, {}]);
    }
}
