//! Caches the claims of personal access tokens, so that a check doesn't read PostgreSQL each time.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    revocation::{PERSONAL_ACCESS_TOKEN_SECONDS, lease::BootTime},
};
use quick_cache::sync::Cache;

/// The number of cached tokens, about 2 kB each. An evicted token is read again.
const CACHE_SIZE: usize = 20_000;

/// The time for which cached claims are used, in nanoseconds.
const MAX_AGE: BootTime = PERSONAL_ACCESS_TOKEN_SECONDS * 1_000_000_000;

/// The claims of personal access tokens, by their complete text. Only valid tokens are cached, so
/// that invalid ones can't evict them.
pub struct PersonalAccessTokenCache(Cache<Box<str>, CachedToken>);

impl Default for PersonalAccessTokenCache {
    fn default() -> Self {
        PersonalAccessTokenCache(Cache::new(CACHE_SIZE))
    }
}

#[derive(Clone)]
struct CachedToken {
    token: VersionedClaims,
    /// The end of the time for which the claims are used.
    until: BootTime,
}

/// The claims of a token.
#[derive(Clone)]
pub struct VersionedClaims {
    pub claims: Arc<Claims>,
    /// The version of the user's identity in the claims.
    pub identity_version: i64,
}

impl PersonalAccessTokenCache {
    /// Returns the claims of a token, if they are cached and not too old.
    pub fn get(&self, text: &str, now: BootTime) -> Option<VersionedClaims> {
        self.0
            .get(text)
            .filter(|cached| now < cached.until)
            .map(|cached| cached.token)
    }

    /// Caches claims that were queried at `queried_at`. Returns whether the cache lacked the token,
    /// which is true for one of several concurrent queries.
    pub fn put(&self, text: &str, token: VersionedClaims, queried_at: BootTime) -> bool {
        let is_first = self.get(text, queried_at).is_none();
        self.0.insert(
            text.into(),
            CachedToken {
                token,
                until: queried_at + MAX_AGE,
            },
        );
        is_first
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use latchkey_domain::{
        access_token::{PersonalAccessTokenGrant, TokenPolicy, personal_claims},
        account::{Identity, Role},
    };

    fn claims() -> VersionedClaims {
        let policy = TokenPolicy {
            issuer: "https://a".into(),
            audience: "https://a".into(),
            clock_skew: 0,
        };
        let (id, user_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = PersonalAccessTokenGrant {
            id,
            user_id,
            generation: 1,
            scope: String::new(),
            created_at: 0,
            expires_at: 1,
        };
        let identity = Identity {
            username: None,
            email: None,
            email_verified: false,
            name: None,
            groups: Default::default(),
            role: Role::User,
            version: 1,
        };
        VersionedClaims {
            claims: Arc::new(personal_claims(&policy, &token, &identity)),
            identity_version: identity.version,
        }
    }

    /// The ten minutes start before the query, because its result can lack a concurrent revocation.
    #[test]
    fn cached_claims_expire_ten_minutes_after_query() {
        let (cache, queried_at) = (PersonalAccessTokenCache::default(), 5);
        assert!(cache.get("lkp_a", queried_at).is_none());
        assert!(cache.put("lkp_a", claims(), queried_at));
        let end = queried_at + 600 * 1_000_000_000;
        assert!(cache.get("lkp_a", end - 1).is_some());
        assert!(cache.get("lkp_a", end).is_none());
        assert!(cache.get("lkp_b", queried_at).is_none());
    }

    #[test]
    fn one_of_concurrent_puts_is_first() {
        let cache = PersonalAccessTokenCache::default();
        let firsts = (0..5)
            .filter(|queried_at| cache.put("lkp_a", claims(), *queried_at))
            .count();
        assert_eq!(firsts, 1);
        assert!(
            cache.put("lkp_a", claims(), MAX_AGE + 5),
            "first put after the entry expired"
        );
    }
}
