//! Sessions: each lasts from a sign-in to its expiry or revocation, and covers all its tokens.

use uuid::Uuid;

/// The `client_id` of tokens from `POST /login`, as opposed to those of registered OAuth clients.
pub const FIRST_PARTY_CLIENT: &str = "latchkey";

/// The `client_id` of session cookies.
///
/// Only session cookies are renewed while they are used, so they must be distinguishable from other
/// access tokens.
pub const BROWSER_CLIENT: &str = "latchkey-browser";

/// The `client_id` of application cookies.
pub const APPLICATION_CLIENT: &str = "latchkey-app";

/// The `client_id` in the claims of a personal access token.
pub const PERSONAL_ACCESS_TOKEN_CLIENT: &str = "latchkey-personal-token";

/// The data that all tokens of a session share. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The ID of the session, `sid` in tokens.
    pub session_id: Uuid,
    /// The ID of the user, `sub` in tokens.
    pub user_id: Uuid,
    /// The generation of the user at sign-in. The revocation of all sessions of a user increments
    /// the generation of the user.
    pub generation: i64,
    /// The client that signed in, `client_id` in tokens.
    pub client_id: String,
    /// The granted scopes, separated by spaces (RFC 6749 section 3.3).
    pub scope: String,
    /// The time of the last authentication with the password.
    pub auth_time: u64,
    /// The end of the maximum lifetime, which no refresh extends.
    pub expires_at: u64,
}
