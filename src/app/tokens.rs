//! Tokens: verification, personal access tokens, identity assertions, introspection, and
//! revocation.

pub mod client_credentials;
pub mod explain;
pub mod identity_assertion;
mod introspect;
mod personal_access_token_cache;
pub mod personal_access_tokens;
pub mod revoke;
mod token_cache;
mod verify;

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::TokenPolicy,
    explanation::RefreshLifetimes,
    opaque_token::{OpaqueToken, OpaqueTokenKind, SECRET_BYTES},
    refresh_token::RefreshKey,
};
use secrecy::{ExposeSecretMut, SecretBox};
use uuid::Uuid;

use crate::{
    app::{clock::Clock, keys::Keys, revocation::Revocations, tasks::Tasks},
    config::Config,
    error::Error,
    postgres::Postgres,
    redis::Redis,
};
use identity_assertion::AssertionCache;
use personal_access_token_cache::PersonalAccessTokenCache;
use token_cache::TokenCache;

/// Verifies, issues, and revokes tokens.
pub struct Tokens {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) clock: Arc<Clock>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) refresh_key: Arc<RefreshKey>,
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) caches: TokenCaches,
    pub(super) settings: TokenSettings,
}

/// Results that are expensive to compute or to read.
pub(super) struct TokenCaches {
    signatures: TokenCache,
    personal_access_tokens: PersonalAccessTokenCache,
    assertions: AssertionCache,
}

impl TokenCaches {
    pub(super) fn new(config: &Config) -> TokenCaches {
        TokenCaches {
            signatures: TokenCache::new(config.token_cache_size),
            personal_access_tokens: PersonalAccessTokenCache::default(),
            assertions: AssertionCache::default(),
        }
    }
}

/// The settings of tokens.
pub(super) struct TokenSettings {
    access_lifetime: Duration,
    /// For the explanation of a rejected token.
    lifetimes: RefreshLifetimes,
}

impl TokenSettings {
    pub(super) fn new(config: &Config) -> TokenSettings {
        TokenSettings {
            access_lifetime: config.access_lifetime,
            lifetimes: RefreshLifetimes {
                idle_timeout: config.session_idle_timeout.as_secs(),
                reuse_interval: config.refresh_reuse_interval.as_secs(),
            },
        }
    }
}

/// Generates an opaque token. Its text is returned once.
///
/// # Errors
/// `internal` if the system has no randomness.
pub(crate) fn generate_opaque_token(kind: OpaqueTokenKind, id: Uuid) -> Result<OpaqueToken, Error> {
    let mut secret = SecretBox::<[u8; SECRET_BYTES]>::default();
    aws_lc_rs::rand::fill(secret.expose_secret_mut()).map_err(Error::internal)?;
    Ok(OpaqueToken::new(kind, id, secret))
}
