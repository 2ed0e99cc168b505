//! Signs identity assertions: the identity of a request's user, for the upstream of the request. An
//! assertion is cached for half of its lifetime, because a signature per request is expensive.

use std::sync::Arc;

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

/// Assertions by signing key, token, upstream, and half of the lifetime in which they are used.
/// The upstream and the token are part of the key, because an assertion is valid for one upstream
/// and identifies the user of one token.
pub struct AssertionCache(Cache<(Kid, Uuid, WebOrigin, u64), Arc<str>>);

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
            upstream,
            identity_assertion::half(now),
        );
        self.caches.assertions.0.get_or_insert_with(&cache_key, || {
            identity_assertion::sign(&signing_key, claims, &cache_key.2, now)
                .map(Arc::from)
                .map_err(Error::internal)
        })
    }
}
