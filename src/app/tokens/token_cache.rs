//! Caches access tokens with a valid signature, because the verification of an Ed25519 signature
//! costs more than the rest of a request.
//!
//! Only the signature check is cached: kind, key, audience, expiry, and revocation are checked on every
//! request. The cache compares all bytes of a token. It contains only tokens that this server
//! signed, so forged tokens use no memory and evict no valid token.

use std::sync::LazyLock;

use foldhash::fast::RandomState;
use latchkey_domain::access_token::{
    self, SignedToken, TokenError, TokenKind, Validity, VerifyingKeys,
};
use metrics::Counter;
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

static HITS: LazyLock<Counter> =
    LazyLock::new(|| metrics::counter!("latchkey_token_cache_total", "result" => "hit"));
static MISSES: LazyLock<Counter> =
    LazyLock::new(|| metrics::counter!("latchkey_token_cache_total", "result" => "miss"));

/// Access tokens with a valid signature, by their text. The number of tokens is bounded.
pub(super) struct TokenCache(Cache<Box<str>, SignedToken, UnitWeighter, RandomState>);

impl TokenCache {
    /// Creates a cache for at most `capacity` tokens; 0 disables it.
    pub fn new(capacity: usize) -> TokenCache {
        let (weighter, lifecycle) = (UnitWeighter, DefaultLifecycle::default());
        TokenCache(Cache::with(
            capacity,
            capacity as u64,
            weighter,
            RandomState::default(),
            lifecycle,
        ))
    }

    /// Verifies the signature of a token of this kind, or finds the token in the cache, and
    /// validates its claims.
    ///
    /// The kind is compared on every use, so that a token of one kind is never accepted as another.
    ///
    /// # Errors
    /// The rule that the token violates.
    pub fn verify(
        &self,
        token: &str,
        kind: TokenKind,
        keys: &VerifyingKeys,
        validate: impl FnOnce(&SignedToken) -> Result<Validity, TokenError>,
    ) -> Result<Validity, TokenError> {
        if let Some(signed) = self.0.get(token) {
            HITS.increment(1);
            return if signed.kind == kind {
                validate(&signed)
            } else {
                Err(TokenError::Malformed)
            };
        }
        MISSES.increment(1);
        let signed = access_token::verify_signature(token, kind, keys)?;
        let validity = validate(&signed)?;
        // An expired token stays invalid, so an attacker with many of them must not evict valid
        // tokens.
        if let Validity::Valid(_) = validity {
            self.0.insert(token.into(), signed);
        }
        Ok(validity)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use secrecy::ExposeSecret;

    use super::*;
    use latchkey_domain::{
        access_token::{Claims, SigningKey, TokenPolicy},
        account::{Identity, Role},
        session::Session,
    };

    const NOW: u64 = 1_800_000_000;

    fn keys() -> (SigningKey, VerifyingKeys) {
        let signing =
            SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose_secret()).unwrap();
        let mut verifying = VerifyingKeys::default();
        verifying.add(signing.public());
        (signing, verifying)
    }

    fn policy() -> TokenPolicy {
        TokenPolicy {
            issuer: "https://auth.example.com".into(),
            audience: "https://api.example.com".into(),
            clock_skew: 5,
        }
    }

    fn claims(number: u128) -> Claims {
        let session = Session {
            session_id: Uuid::from_u128(number),
            user_id: Uuid::from_u128(number),
            generation: 1,
            client_id: "latchkey".into(),
            scope: "user:read".into(),
            auth_time: NOW,
            expires_at: NOW + 1000,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: None,
            email: None,
            email_verified: false,
            name: None,
            groups: Default::default(),
        };
        access_token::claims(
            &policy(),
            &session,
            &identity,
            Uuid::from_u128(number),
            NOW,
            900,
        )
    }

    fn signed(key: &SigningKey, number: u128) -> SignedToken {
        SignedToken {
            kid: key.kid(),
            kind: TokenKind::Access,
            claims: Arc::new(claims(number)),
        }
    }

    fn verify(
        cache: &TokenCache,
        token: &str,
        keys: &VerifyingKeys,
        policy: &TokenPolicy,
        now: u64,
    ) -> Result<Validity, TokenError> {
        let validate = |signed: &SignedToken| signed.validate_claims(keys, policy, now);
        cache.verify(token, TokenKind::Access, keys, validate)
    }

    fn token(key: &SigningKey, number: u128) -> String {
        key.sign(&claims(number)).unwrap()
    }

    #[test]
    fn cached_token_is_validated_on_every_use() {
        let (cache, (key, keys), (_, other_keys)) = (TokenCache::new(10), keys(), keys());
        let token = token(&key, 1);
        for _ in 0..2 {
            assert_eq!(
                verify(&cache, &token, &keys, &policy(), NOW),
                Ok(Validity::Valid(signed(&key, 1)))
            );
        }
        assert_eq!(cache.0.len(), 1);
        assert_eq!(
            verify(&cache, &token, &keys, &policy(), NOW + 900),
            Ok(Validity::Expired(signed(&key, 1)))
        );
        assert_eq!(
            verify(&cache, &token, &keys, &policy(), NOW - 6),
            Err(TokenError::NotYetValid(NOW))
        );
        assert_eq!(
            verify(&cache, &token, &other_keys, &policy(), NOW),
            Err(TokenError::UnknownKey(Some(key.kid()))),
            "the key was removed"
        );
        let other_policy = TokenPolicy {
            audience: "https://other.example".into(),
            ..policy()
        };
        assert_eq!(
            verify(&cache, &token, &keys, &other_policy, NOW),
            Err(TokenError::Audience(policy().audience))
        );
    }

    /// With `sub` and `sid` of a user, a token of one kind would be accepted as another.
    #[test]
    fn kind_is_compared_on_every_use() {
        let (cache, (key, keys)) = (TokenCache::new(10), keys());
        let validate = |signed: &SignedToken| signed.validate_claims(&keys, &policy(), NOW);
        let kinds = [TokenKind::Access, TokenKind::Application];
        for (kind, other) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
            let token = key.sign_as(kind, &claims(1)).unwrap();
            let malformed = Err(TokenError::Malformed);
            assert_eq!(cache.verify(&token, other, &keys, validate), malformed);
            assert!(cache.verify(&token, kind, &keys, validate).is_ok());
            assert_eq!(cache.verify(&token, other, &keys, validate), malformed);
        }
        assert_eq!(cache.0.len(), 2);
    }

    /// The forged tokens differ from a cached token in one character, at each position.
    #[test]
    fn forged_and_expired_tokens_are_not_cached() {
        let (cache, (key, keys)) = (TokenCache::new(10), keys());
        let valid_token = token(&key, 1);
        assert!(verify(&cache, &valid_token, &keys, &policy(), NOW).is_ok());
        for position in 0..valid_token.len() {
            let mut forged = valid_token.clone();
            let other = if &valid_token[position..=position] == "A" {
                "B"
            } else {
                "A"
            };
            forged.replace_range(position..=position, other);
            assert!(
                verify(&cache, &forged, &keys, &policy(), NOW).is_err(),
                "{position}"
            );
        }
        let expired = verify(&cache, &token(&key, 2), &keys, &policy(), NOW + 900);
        assert_eq!(expired, Ok(Validity::Expired(signed(&key, 2))));
        assert!(cache.0.len() == 1 && cache.0.get(valid_token.as_str()).is_some());
    }

    #[test]
    fn cache_size_is_bounded_and_can_be_zero() {
        let (key, keys) = keys();
        for capacity in [0, 100] {
            let cache = TokenCache::new(capacity);
            for number in 0..500 {
                let token = token(&key, number);
                assert_eq!(
                    verify(&cache, &token, &keys, &policy(), NOW),
                    Ok(Validity::Valid(signed(&key, number)))
                );
            }
            assert!(cache.0.len() <= capacity, "{}", cache.0.len());
        }
    }
}
