//! Descriptions of success responses. Several operations share a response type, whose description
//! cannot be specific.

use serde_json::{Value, json};

/// Operation, status, and description.
const DESCRIPTIONS: [(&str, &str, &str); 18] = [
    (
        "signOut",
        "204",
        "The session was revoked, and every replica rejects it.",
    ),
    (
        "deleteBrowserSession",
        "204",
        "The session was revoked, and the cookie was cleared. Also returned without a session.",
    ),
    (
        "deleteCurrentUser",
        "204",
        "The user was deleted, and every replica rejects their tokens.",
    ),
    (
        "changePassword",
        "204",
        "The password was changed, and every replica rejects the other sessions.",
    ),
    (
        "requestEmailChange",
        "202",
        "The request was accepted. A one-time code is sent unless the address received too many \
         emails.",
    ),
    (
        "requestPasswordReset",
        "202",
        "The request was accepted. A one-time code is sent if a user has this address.",
    ),
    (
        "resetPassword",
        "204",
        "The password was changed, and every replica rejects all sessions and personal access \
         tokens.",
    ),
    ("createBrowserSession", "200", "The session cookie was set."),
    (
        "revokePersonalAccessToken",
        "204",
        "The token was revoked, and every replica rejects it.",
    ),
    (
        "revokeSession",
        "204",
        "The session was revoked, and every replica rejects it.",
    ),
    ("deleteItem", "204", "The item was deleted."),
    ("replaceItem", "200", "The item was replaced."),
    ("updateItem", "200", "The item was updated."),
    ("updateCurrentUser", "200", "The user was updated."),
    ("verifyEmail", "200", "The email address was verified."),
    (
        "deleteUser",
        "204",
        "The user was deleted, and every replica rejects their tokens.",
    ),
    (
        "revokeUserCredentials",
        "204",
        "All sessions and personal access tokens were revoked, and every replica rejects them.",
    ),
    (
        "deleteOAuthClient",
        "204",
        "The client was deleted, and every replica rejects its tokens.",
    ),
];

/// Writes the descriptions of one operation.
pub fn patch(operation: &mut Value) {
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for (_, status, description) in DESCRIPTIONS
        .iter()
        .filter(|(operation, ..)| *operation == id)
    {
        let response = operation["responses"]
            .get_mut(*status)
            .unwrap_or_else(|| panic!("{id} has no response {status}; fix successes.rs"));
        response["description"] = json!(description);
    }
}
