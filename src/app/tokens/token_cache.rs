//! Tokens whose signature was found right. To check an Ed25519 signature costs more than everything
//! else about a request; to find a token here costs next to nothing.
//!
//! That is all it saves: who may use the token, until when, and whether it was taken back is judged
//! for every request. A token is known by all of its bytes, and only what our own key signed gets
//! in, so a flood of forged tokens neither pushes a good one out nor takes memory.

use std::sync::LazyLock;

use foldhash::fast::RandomState;
use latchkey_domain::access_token::{
    self, SignedToken, TokenError, TokenPolicy, Validity, VerifyingKeys,
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

/// A bounded number of tokens; those that are used least are forgotten.
pub struct TokenCache(Cache<Box<str>, SignedToken, UnitWeighter, RandomState>);

impl TokenCache {
    /// Room for so many tokens.
    pub fn new(tokens: usize) -> TokenCache {
        let (weighter, lifecycle) = (UnitWeighter, DefaultLifecycle::default());
        TokenCache(Cache::with(
            tokens,
            tokens as u64,
            weighter,
            RandomState::default(),
            lifecycle,
        ))
    }

    /// What [`access_token::diagnose`] says of the token.
    pub fn open(
        &self,
        token: &str,
        keys: &VerifyingKeys,
        policy: &TokenPolicy,
        now: u64,
    ) -> Result<Validity, TokenError> {
        if let Some(signed) = self.0.get(token) {
            HITS.increment(1);
            return signed.validate_claims(keys, policy, now);
        }
        MISSES.increment(1);
        let signed = access_token::verify_signature(token, keys)?;
        let opened = signed.validate_claims(keys, policy, now)?;
        // One that has expired is never good again: whoever collects those must not push others
        // out.
        if let Validity::Valid(_) = opened {
            self.0.insert(token.into(), signed);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use latchkey_domain::{
        access_token::{Claims, SigningKey},
        account::{Identity, Role},
        session::Session,
    };

    const NOW: u64 = 1_800_000_000;

    fn keys() -> (SigningKey, VerifyingKeys) {
        let signing = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
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
            sid: Uuid::from_u128(number),
            sub: Uuid::from_u128(number),
            generation: 1,
            client_id: "latchkey".into(),
            scope: "user:read".into(),
            auth_time: NOW,
            ends_at: NOW + 1000,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: None,
            email: None,
            email_verified: false,
            name: None,
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
            claims: Arc::new(claims(number)),
        }
    }

    fn token(key: &SigningKey, number: u128) -> String {
        key.sign(&claims(number)).unwrap()
    }

    #[test]
    fn a_token_that_is_known_is_judged_all_the_same() {
        let (cache, (key, keys), (_, others)) = (TokenCache::new(10), keys(), keys());
        let token = token(&key, 1);
        for _ in 0..2 {
            assert_eq!(
                cache.open(&token, &keys, &policy(), NOW),
                Ok(Validity::Valid(signed(&key, 1)))
            );
        }
        assert_eq!(cache.0.len(), 1);
        assert_eq!(
            cache.open(&token, &keys, &policy(), NOW + 900),
            Ok(Validity::Expired(signed(&key, 1)))
        );
        assert_eq!(
            cache.open(&token, &keys, &policy(), NOW - 6),
            Err(TokenError::NotYetValid(NOW))
        );
        assert_eq!(
            cache.open(&token, &others, &policy(), NOW),
            Err(TokenError::UnknownKey(Some(key.kid()))),
            "its key is no longer ours"
        );
        let elsewhere = TokenPolicy {
            audience: "https://other.example".into(),
            ..policy()
        };
        assert_eq!(
            cache.open(&token, &keys, &elsewhere, NOW),
            Err(TokenError::Audience(policy().audience))
        );
    }

    /// Also those that differ from a known one in a single character, anywhere.
    #[test]
    fn forged_and_expired_tokens_take_no_room() {
        let (cache, (key, keys)) = (TokenCache::new(10), keys());
        let good = token(&key, 1);
        assert!(cache.open(&good, &keys, &policy(), NOW).is_ok());
        for at in 0..good.len() {
            let mut forged = good.clone();
            let other = if &good[at..=at] == "A" { "B" } else { "A" };
            forged.replace_range(at..=at, other);
            assert!(cache.open(&forged, &keys, &policy(), NOW).is_err(), "{at}");
        }
        let late = cache.open(&token(&key, 2), &keys, &policy(), NOW + 900);
        assert_eq!(late, Ok(Validity::Expired(signed(&key, 2))));
        assert!(cache.0.len() == 1 && cache.0.get(good.as_str()).is_some());
    }

    #[test]
    fn its_room_is_bounded_and_may_be_none() {
        let (key, keys) = keys();
        for room in [0, 100] {
            let cache = TokenCache::new(room);
            for number in 0..500 {
                let token = token(&key, number);
                assert_eq!(
                    cache.open(&token, &keys, &policy(), NOW),
                    Ok(Validity::Valid(signed(&key, number)))
                );
            }
            assert!(cache.0.len() <= room, "{}", cache.0.len());
        }
    }
}
