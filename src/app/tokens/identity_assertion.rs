//! Signs identity assertions: the identity of a request's user, for the upstream of the request. An
//! assertion is cached for half of its lifetime, because a signature per request is expensive.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use latchkey_domain::{
    access_token::{Claims, Kid},
    identity_assertion,
    web_origin::WebOrigin,
};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::{app::tokens::Tokens, error::Error};

/// The number of cached assertions, about 1 kB each. An evicted assertion is signed again.
const ASSERTION_CACHE_SIZE: usize = 8192;

/// Assertions by signing key, token, identity, upstream, and half of the lifetime in which they are
/// used. The upstream and the token are part of the key, because an assertion is valid for one
/// upstream and identifies the user of one token.
pub struct AssertionCache(Cache<(Kid, Uuid, u64, WebOrigin, u64), Arc<str>>);

impl Default for AssertionCache {
    fn default() -> Self {
        AssertionCache(Cache::new(ASSERTION_CACHE_SIZE))
    }
}

impl Tokens {
    /// Returns an assertion of the claims of a verified token, signed for an upstream.
    ///
    /// # Errors
    /// `internal`, `unavailable`.
    pub async fn assert_identity(
        &self,
        claims: &Claims,
        upstream: WebOrigin,
    ) -> Result<Arc<str>, Error> {
        let (signing_key, now) = (self.keys.signing_key().await?, self.clock.now());
        let cache_key = (
            signing_key.kid(),
            claims.jti,
            identity_hash(claims),
            upstream,
            identity_assertion::half(now),
        );
        self.caches.assertions.0.get_or_insert_with(&cache_key, || {
            identity_assertion::sign(&signing_key, claims, &cache_key.3, now)
                .map(Arc::from)
                .map_err(Error::internal)
        })
    }
}

/// Returns a hash of the identity in the claims of a personal access token, which changes during
/// the lifetime of the token. An access token contains its identity, so this is 0.
fn identity_hash(claims: &Claims) -> u64 {
    if claims.sid.is_some() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    (&claims.username, &claims.name, claims.verified_email()).hash(&mut hasher);
    hasher.finish()
}
