//! A session: what lasts from a sign-in to its end, whatever tokens come and go meanwhile.

use uuid::Uuid;

/// The client that people use themselves, as opposed to registered OAuth clients.
pub const FIRST_PARTY_CLIENT: &str = "latchkey";

/// The same people in a browser, with a cookie. The cookie is an access token that is signed anew
/// while it is used, which no other access token is: so it must be known from them.
pub const BROWSER_CLIENT: &str = "latchkey-browser";

/// Programs of theirs, with a personal access token.
pub const PERSONAL_TOKEN_CLIENT: &str = "latchkey-personal-token";

/// What every token of a session has in common. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session's id, `sid` in tokens.
    pub sid: Uuid,
    /// The user, `sub` in tokens.
    pub sub: Uuid,
    /// The user's generation at the sign-in; raised by everything that ends all of a user's
    /// sessions.
    pub generation: i64,
    /// The OAuth client that the session belongs to.
    pub client_id: String,
    /// What its tokens may be used for, separated by spaces (RFC 6749 section 3.3).
    pub scope: String,
    /// When the user last proved to know the password.
    pub auth_time: u64,
    /// The absolute end, which no refresh moves.
    pub ends_at: u64,
}
