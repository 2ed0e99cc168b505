//! What was read of personal access tokens.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    revocation::{PERSONAL_TOKEN_SECONDS, lease::BootTime},
};
use quick_cache::sync::Cache;

/// Tokens that are remembered, about 2 kB each. One that is forgotten is read again.
const CACHE_SIZE: usize = 20_000;

/// For how long they are believed, in nanoseconds.
const MAX_AGE: BootTime = PERSONAL_TOKEN_SECONDS * 1_000_000_000;

/// What was read of personal access tokens, by their whole text. Only good ones get in, so that a
/// flood of others pushes none of them out.
pub struct PersonalAccessTokenCache(Cache<Box<str>, CachedToken>);

impl Default for PersonalAccessTokenCache {
    fn default() -> Self {
        PersonalAccessTokenCache(Cache::new(CACHE_SIZE))
    }
}

#[derive(Clone)]
struct CachedToken {
    claims: Arc<Claims>,
    /// Since then it is not believed any more.
    until: BootTime,
}

impl PersonalAccessTokenCache {
    /// What this token says, if that is still believed.
    pub fn get(&self, token: &str, now: BootTime) -> Option<Arc<Claims>> {
        self.0
            .get(token)
            .filter(|read| now < read.until)
            .map(|read| read.claims)
    }

    /// Remembers what was asked for at that moment. Whether nobody else had read it meanwhile.
    pub fn put(&self, token: &str, claims: Arc<Claims>, asked: BootTime) -> bool {
        let is_first = self.get(token, asked).is_none();
        self.0.insert(
            token.into(),
            CachedToken {
                claims,
                until: asked + MAX_AGE,
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

    fn claims() -> Arc<Claims> {
        let policy = TokenPolicy {
            issuer: "https://a".into(),
            audience: "https://a".into(),
            clock_skew: 0,
        };
        let (id, sub) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = PersonalAccessTokenGrant {
            id,
            sub,
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
            role: Role::User,
            version: 1,
        };
        Arc::new(personal_claims(&policy, &token, &identity))
    }

    /// Ten minutes from the question, not from the answer: what was taken back in between is not in
    /// it.
    #[test]
    fn what_was_read_is_believed_for_ten_minutes_and_not_a_moment_longer() {
        let (remembered, asked) = (PersonalAccessTokenCache::default(), 5);
        assert!(remembered.get("lkp_a", asked).is_none());
        assert!(remembered.put("lkp_a", claims(), asked));
        let end = asked + 600 * 1_000_000_000;
        assert!(remembered.get("lkp_a", end - 1).is_some());
        assert!(remembered.get("lkp_a", end).is_none());
        assert!(remembered.get("lkp_b", asked).is_none());
    }

    #[test]
    fn of_a_crowd_that_reads_the_same_one_is_the_first() {
        let remembered = PersonalAccessTokenCache::default();
        let firsts = (0..5)
            .filter(|asked| remembered.put("lkp_a", claims(), *asked))
            .count();
        assert_eq!(firsts, 1);
        assert!(
            remembered.put("lkp_a", claims(), MAX_AGE + 5),
            "it is read again"
        );
    }
}
