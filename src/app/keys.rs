//! The signing keys: what is known of them here, which one signs at this moment, and which ones
//! verify.
//!
//! The record holds them, sealed (`sealing`). A worker reads it again and again (`watch`), and asks
//! for the next key when it is time; where a key is in its life follows from the time
//! ([`latchkey_domain::key_schedule`]), so that nothing need be read for a key to take over. A token of a
//! key that is not known here yet is a reason to read at once (`look`). The operator makes keys and
//! takes them back (`change`).
//!
//! A key that was taken back is one from the moment its entry is in memory, whether or not the
//! record can be read: it signs nothing and verifies nothing any more in this process, also when
//! the entry has lapsed.

mod admin;
mod reload;
mod rotation;
mod sealing;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use latchkey_domain::{
    access_token::{
        self, Claims, Kid, SignedToken, SigningKey, TokenError, Validity, VerifyingKeys,
    },
    key_schedule::{self, KeyRotationPolicy, KeyState, ScheduledKey},
    revocation::{Entry, Subject},
};
use tokio::sync::Notify;

pub use crate::app::keys::admin::{ListedKey, RotationOutcome};
pub(super) use crate::app::keys::sealing::can_sign;

use crate::{
    app::{Gateway, keys::reload::KeyReloader},
    error::Error,
    postgres::StoredKey,
};

/// The keys as far as they are known. Readers take no lock.
#[derive(Default)]
pub struct KeyRing {
    known: ArcSwap<KeySnapshot>,
    reloader: KeyReloader,
    /// Rung when a key was taken back, so that the worker need not wait for its next look.
    reload_ready: Notify,
}

/// What is known at one moment.
#[derive(Default)]
struct KeySnapshot {
    schedule: Vec<ScheduledKey>,
    pairs: HashMap<Kid, KeyPair>,
    /// Those that verify.
    verifying: VerifyingKeys,
    /// Those whose entry was seen, for good: the record may have been read before it knew, and
    /// entries lapse.
    revoked: BTreeSet<Kid>,
}

#[derive(Clone)]
struct KeyPair {
    public: Arc<[u8]>,
    /// Nothing where it was sealed under a secret that is not ours. Once it was read it stays,
    /// whatever it is sealed under later.
    private: Option<Arc<SigningKey>>,
}

/// A key that verifies, for others.
pub struct PublicKey {
    /// Its id.
    pub kid: Kid,
    /// The 32 bytes of an Ed25519 key.
    pub bytes: Arc<[u8]>,
}

impl KeySnapshot {
    /// As of a moment, in ms since the epoch.
    fn new(
        mut schedule: Vec<ScheduledKey>,
        pairs: HashMap<Kid, KeyPair>,
        revoked: BTreeSet<Kid>,
        now: u64,
    ) -> KeySnapshot {
        for life in schedule
            .iter_mut()
            .filter(|life| revoked.contains(&life.kid))
        {
            life.revoked_at.get_or_insert(now);
        }
        let mut verifying = VerifyingKeys::default();
        let verifies = |life: &&ScheduledKey| key_schedule::state(&schedule, life, now).verifies();
        let good = schedule
            .iter()
            .filter(verifies)
            .filter_map(|life| pairs.get(&life.kid));
        good.for_each(|pairs| verifying.add(&pairs.public));
        KeySnapshot {
            schedule,
            pairs,
            verifying,
            revoked,
        }
    }

    /// The same without a key that was taken back.
    fn without(&self, kid: Kid, now: u64) -> KeySnapshot {
        let mut revoked = self.revoked.clone();
        revoked.insert(kid);
        KeySnapshot::new(self.schedule.clone(), self.pairs.clone(), revoked, now)
    }

    fn is_revoked(&self, kid: Kid) -> bool {
        self.revoked.contains(&kid)
            || self
                .schedule
                .iter()
                .any(|life| life.kid == kid && life.revoked_at.is_some())
    }

    fn signer(&self, now: u64) -> Option<Arc<SigningKey>> {
        let life = key_schedule::signer(&self.schedule, now)?;
        self.pairs.get(&life.kid)?.private.clone()
    }

    fn states(&self, now: u64) -> impl Iterator<Item = (&ScheduledKey, KeyState)> {
        self.schedule
            .iter()
            .map(move |life| (life, key_schedule::state(&self.schedule, life, now)))
    }
}

impl KeyRing {
    /// Takes in what the record says at a moment (ms since the epoch). What was unsealed before is
    /// not unsealed again.
    fn load(
        &self,
        stored: &[StoredKey],
        unseal: impl Fn(&StoredKey) -> Option<SigningKey>,
        now: u64,
    ) {
        let before = self.known.load();
        let pairs: HashMap<Kid, KeyPair> = stored
            .iter()
            .map(|stored| {
                let known = before
                    .pairs
                    .get(&stored.life.kid)
                    .and_then(|pairs| pairs.private.clone());
                let private = known.or_else(|| unseal(stored).map(Arc::new));
                (
                    stored.life.kid,
                    KeyPair {
                        public: stored.key.public.as_slice().into(),
                        private,
                    },
                )
            })
            .collect();
        let schedule: Vec<ScheduledKey> = stored.iter().map(|stored| stored.life).collect();
        // Meanwhile a key may have been taken back.
        self.known.rcu(|before| {
            KeySnapshot::new(schedule.clone(), pairs.clone(), before.revoked.clone(), now)
        });
    }

    /// Takes time into account: what is gone by now (ms since the epoch) verifies nothing.
    fn refresh_states(&self, now: u64) {
        self.known.rcu(|known| {
            KeySnapshot::new(
                known.schedule.clone(),
                known.pairs.clone(),
                known.revoked.clone(),
                now,
            )
        });
    }

    /// From now on (ms since the epoch) the key signs and verifies nothing; whether that is news.
    fn revoke(&self, kid: Kid, now: u64) -> bool {
        let is_news = !self.known.load().is_revoked(kid);
        self.known.rcu(|known| known.without(kid, now));
        is_news
    }
}

impl Gateway {
    /// Whether keys were read yet: without, nothing can be signed in or verified.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn require_loaded(&self) -> Result<(), Error> {
        let is_empty = self.keys.known.load().schedule.is_empty();
        if is_empty {
            Err(Error::unavailable("the signing keys are not loaded yet"))
        } else {
            Ok(())
        }
    }

    /// Signs with the key whose time it is. Where that was taken back a moment ago, what follows it
    /// is read first.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn sign(&self, claims: &Claims) -> Result<String, Error> {
        self.signing_key()
            .await?
            .sign(claims)
            .map_err(Error::internal)
    }

    /// The key whose time it is.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn signing_key(&self) -> Result<Arc<SigningKey>, Error> {
        let known = self.keys.known.load().signer(self.clock.now_ms());
        match known {
            Some(signer) => Ok(signer),
            // Rare, and large: no signature needs to have room for it.
            None => Box::pin(self.signer_after_reload()).await,
        }
    }

    /// What a token says that one of our keys has signed, whether or not it has expired. Whether it
    /// was taken back is not asked.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` where its key was, `busy`, `unavailable`.
    pub(crate) async fn open(&self, token: &str) -> Result<Validity, Error> {
        self.verify_with(|keys| {
            self.tokens
                .open(token, keys, &self.policy, self.clock.now())
        })
        .await
    }

    /// The same of a token for whomever it is, which need not be us.
    ///
    /// # Errors
    /// As [`Gateway::open`].
    pub(crate) async fn verify_signed_for_any_audience(
        &self,
        token: &str,
    ) -> Result<Validity, Error> {
        let now = self.clock.now();
        let open = |keys: &VerifyingKeys| {
            access_token::verify_signature(token, keys)?.validate_for_any_audience(
                keys,
                &self.policy,
                now,
            )
        };
        self.verify_with(open).await
    }

    /// The same of a token that we have signed, whenever it is good.
    ///
    /// # Errors
    /// As [`Gateway::open`].
    pub(crate) async fn verify_issued(&self, token: &str) -> Result<SignedToken, Error> {
        let open = |keys: &VerifyingKeys| match access_token::verify_signature(token, keys)? {
            signed if signed.claims.iss != self.policy.issuer => {
                Err(TokenError::Issuer(signed.claims.iss.clone()))
            }
            signed => Ok(signed),
        };
        self.verify_with(open).await
    }

    async fn verify_with<T>(
        &self,
        open: impl Fn(&VerifyingKeys) -> Result<T, TokenError>,
    ) -> Result<T, Error> {
        let opened = open(&self.keys.known.load().verifying);
        match opened {
            Ok(opened) => Ok(opened),
            // Rare, and large: no check needs to have room for it.
            Err(TokenError::UnknownKey(Some(kid))) => {
                Box::pin(self.verify_after_reload(kid, open)).await
            }
            Err(_) => self.require_loaded().and(Err(Error::InvalidToken)),
        }
    }

    /// The keys that others may verify tokens with.
    ///
    /// # Errors
    /// `unavailable`, as long as none was ever read.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, Error> {
        self.require_loaded()?;
        let known = self.keys.known.load();
        let verifying = known
            .states(self.clock.now_ms())
            .filter(|(_, state)| state.verifies());
        let public = |(life, _): (&ScheduledKey, _)| {
            known.pairs.get(&life.kid).map(|pairs| PublicKey {
                kid: life.kid,
                bytes: pairs.public.clone(),
            })
        };
        Ok(verifying.filter_map(public).collect())
    }

    /// Entries that came into memory: their keys sign and verify nothing any more.
    pub(crate) fn revoke_keys(&self, entries: &[Entry]) {
        for entry in entries {
            let Subject::Key(kid) = entry.subject else {
                continue;
            };
            if self.keys.revoke(kid, self.clock.now_ms()) {
                tracing::info!(%kid, "signing key revoked");
                self.keys.reload_ready.notify_one();
            }
        }
    }

    fn pace(&self) -> KeyRotationPolicy {
        let milliseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        KeyRotationPolicy {
            rotation: milliseconds(self.config.key_rotation),
            max_age: milliseconds(self.config.jwks_max_age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::SealedKey;

    const NOW: u64 = 1_800_000_000_000;

    fn document() -> Vec<u8> {
        SigningKey::generate().unwrap().to_vec()
    }

    fn stored(document: &[u8], signs_from: u64) -> StoredKey {
        let key = SigningKey::from_pkcs8(document).unwrap();
        let life = ScheduledKey {
            kid: key.kid(),
            signs_from,
            revoked_at: None,
        };
        StoredKey {
            life,
            key: SealedKey {
                kid: key.kid(),
                public: key.public().to_vec(),
                sealed: document.to_vec(),
            },
        }
    }

    fn read(stored: &StoredKey) -> Option<SigningKey> {
        SigningKey::from_pkcs8(&stored.key.sealed)
    }

    fn signer(ring: &KeyRing, now: u64) -> Option<Kid> {
        ring.known.load().signer(now).map(|key| key.kid())
    }

    /// The record was asked before it knew, or by a server that does not know yet.
    #[test]
    fn what_was_taken_back_stays_so_whatever_is_read_afterwards() {
        let ring = KeyRing::default();
        let keys = [stored(&document(), NOW), stored(&document(), NOW + 9_000)];
        ring.load(&keys, read, NOW);
        assert_eq!(signer(&ring, NOW), Some(keys[0].life.kid));
        assert!(ring.revoke(keys[0].life.kid, NOW + 5) && !ring.revoke(keys[0].life.kid, NOW + 6));
        for _ in 0..2 {
            assert!(ring.known.load().is_revoked(keys[0].life.kid));
            assert_eq!(
                signer(&ring, NOW + 7),
                Some(keys[1].life.kid),
                "the next one, before its time"
            );
            ring.load(&keys, read, NOW + 7);
        }
        // One that nobody has heard of yet.
        let ring = KeyRing::default();
        ring.revoke(keys[0].life.kid, NOW);
        ring.load(&keys[..1], read, NOW);
        assert_eq!(signer(&ring, NOW), None);
    }

    #[test]
    fn a_private_half_that_was_read_stays_although_it_is_sealed_otherwise_by_now() {
        let ring = KeyRing::default();
        let keys = [stored(&document(), NOW)];
        ring.load(&keys, read, NOW);
        ring.load(&keys, |_| None, NOW);
        assert_eq!(signer(&ring, NOW), Some(keys[0].life.kid));
    }
}
