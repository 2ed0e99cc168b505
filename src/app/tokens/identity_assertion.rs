//! Who is behind a request, signed for the upstream that it goes to. A signature is remembered for
//! half of its life, so that requests do not cost one each.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Kid},
    identity_assertion,
    web_origin::WebOrigin,
};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::{app::Gateway, error::Error};

/// Assertions that are remembered, about a kilobyte each. One that is forgotten is signed again.
const ASSERTION_CACHE_SIZE: usize = 8192;

/// Assertions by key, token, upstream, and the half of a life that they are used in. Never by less:
/// one for another upstream would be refused there, and one of another token would be somebody
/// else's.
pub struct AssertionCache(Cache<(Kid, Uuid, WebOrigin, u64), Arc<str>>);

impl Default for AssertionCache {
    fn default() -> Self {
        AssertionCache(Cache::new(ASSERTION_CACHE_SIZE))
    }
}

impl Gateway {
    /// What a token says that is good at this moment, signed for an upstream.
    ///
    /// # Errors
    /// `internal`, `unavailable`.
    pub async fn assert_identity(
        &self,
        claims: &Claims,
        upstream: WebOrigin,
    ) -> Result<Arc<str>, Error> {
        let (key, now) = (self.signing_key().await?, self.clock.now());
        let known = (
            key.kid(),
            claims.jti,
            upstream,
            identity_assertion::half(now),
        );
        self.assertions.0.get_or_insert_with(&known, || {
            identity_assertion::sign(&key, claims, &known.2, now)
                .map(Arc::from)
                .map_err(Error::internal)
        })
    }
}
