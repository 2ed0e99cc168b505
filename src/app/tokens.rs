//! Tokens.

pub mod client_credentials;
pub mod explain;
pub mod identity_assertion;
pub mod introspect;
pub mod personal_access_token_cache;
pub mod personal_access_tokens;
pub mod revoke;
pub mod token_cache;
pub mod verify;
