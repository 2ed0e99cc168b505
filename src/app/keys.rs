//! The signing keys: selects the key that signs, and provides the keys that verify.
//!
//! PostgreSQL stores the keys; private keys are encrypted (`sealing`). The key worker polls
//! PostgreSQL and creates the next key when it is due (`rotation`). The state of a key follows
//! from the time ([`latchkey_domain::key_schedule`]), so that the next key takes over without a
//! reload. A token of an unknown key (`unknown_keys`) triggers an immediate reload (`reload`), at
//! limited intervals (`reload_schedule`). The operator rotates and revokes keys (`admin`).
//!
//! A key is revoked in this process as soon as its revocation entry is applied, even if PostgreSQL
//! is unavailable. The key stays revoked until the process exits, even after the entry expires.

mod admin;
mod reload;
mod reload_schedule;
mod rotation;
mod sealing;
mod unknown_keys;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use latchkey_domain::{
    access_token::{Claims, Kid, SigningKey, TokenError, VerifyingKeys},
    key_schedule::{self, KeyRotationPolicy, KeyState, ScheduledKey},
    master_secret::MasterSecrets,
};
use tokio::sync::{Mutex, Notify};

pub use admin::{ListedKey, RotationOutcome};

use crate::{
    app::{clock::Clock, revocation::Revocations, tasks::Tasks},
    config::Config,
    error::{Diagnosis, Error},
    postgres::{Postgres, StoredKey},
};
use reload_schedule::ReloadSchedule;
use unknown_keys::UnknownKeys;

/// Signs with the current key, and provides the keys that verify.
pub struct Keys {
    pub(super) postgres: Arc<Postgres>,
    pub(super) clock: Arc<Clock>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) ring: Arc<KeyRing>,
    pub(super) settings: KeySettings,
}

pub(super) struct KeySettings {
    secret: MasterSecrets,
    rotation: Duration,
    jwks_max_age: Duration,
}

impl KeySettings {
    pub(super) fn new(config: &Config) -> KeySettings {
        KeySettings {
            secret: config.secret.clone(),
            rotation: config.key_rotation,
            jwks_max_age: config.jwks_max_age,
        }
    }
}

/// The signing keys in memory. Readers take no lock.
#[derive(Default)]
pub struct KeyRing {
    snapshot: ArcSwap<KeySnapshot>,
    /// Locked while a reload runs, so that reloads run one at a time.
    reload_schedule: Mutex<ReloadSchedule>,
    unknown_keys: UnknownKeys,
    /// Notified when a key was revoked, so that the key worker doesn't wait for its next poll.
    reload_ready: Notify,
    /// The cause and the fix of the last failed round of the key worker, unless one has succeeded
    /// since.
    last_failure: std::sync::Mutex<Option<Diagnosis>>,
}

/// An immutable view of all keys.
#[derive(Default)]
struct KeySnapshot {
    schedule: Vec<ScheduledKey>,
    pairs: HashMap<Kid, KeyPair>,
    /// The keys that verified tokens when this snapshot was created.
    verifying: VerifyingKeys,
    /// Keys whose revocation entry was applied. They are never removed, because PostgreSQL might
    /// have been read before the revocation was committed, and entries expire.
    revoked: BTreeSet<Kid>,
}

#[derive(Clone)]
struct KeyPair {
    public: Arc<[u8]>,
    /// `None` if the private key is encrypted with another secret. A decrypted private key is kept,
    /// even if another replica encrypts it with another secret later.
    private: Option<Arc<SigningKey>>,
    /// Whether the master secrets decrypt the stored private key.
    is_decryptable: bool,
}

/// A public key with which resource servers verify tokens.
pub struct PublicKey {
    pub kid: Kid,
    /// The 32 bytes of the Ed25519 public key.
    pub bytes: Arc<[u8]>,
}

impl KeySnapshot {
    /// Selects the keys that verify at `now` (ms since the epoch).
    fn new(
        mut schedule: Vec<ScheduledKey>,
        pairs: HashMap<Kid, KeyPair>,
        revoked: BTreeSet<Kid>,
        now: u64,
    ) -> KeySnapshot {
        for key in schedule.iter_mut().filter(|key| revoked.contains(&key.kid)) {
            key.revoked_at.get_or_insert(now);
        }
        let mut verifying = VerifyingKeys::default();
        let verifies = |key: &&ScheduledKey| key_schedule::state(&schedule, key, now).verifies();
        let verifying_pairs = schedule
            .iter()
            .filter(verifies)
            .filter_map(|key| pairs.get(&key.kid));
        verifying_pairs.for_each(|pair| verifying.add(&pair.public));
        KeySnapshot {
            schedule,
            pairs,
            verifying,
            revoked,
        }
    }

    /// Returns a copy in which `kid` is revoked.
    fn with_revoked_key(&self, kid: Kid, now: u64) -> KeySnapshot {
        let mut revoked = self.revoked.clone();
        revoked.insert(kid);
        KeySnapshot::new(self.schedule.clone(), self.pairs.clone(), revoked, now)
    }

    fn require_loaded(&self) -> Result<(), Error> {
        if self.schedule.is_empty() {
            Err(Error::unavailable("the signing keys are not loaded yet"))
        } else {
            Ok(())
        }
    }

    fn is_revoked(&self, kid: Kid) -> bool {
        self.revoked.contains(&kid)
            || self
                .schedule
                .iter()
                .any(|key| key.kid == kid && key.revoked_at.is_some())
    }

    /// Whether the key existed and all its tokens have expired at `now` (ms since the epoch).
    fn is_expired(&self, kid: Kid, now: u64) -> bool {
        self.states(now)
            .any(|(key, state)| key.kid == kid && state == KeyState::Expired)
    }

    fn signing_key(&self, now: u64) -> Option<Arc<SigningKey>> {
        let key = key_schedule::find_signer(&self.schedule, now)?;
        self.pairs.get(&key.kid)?.private.clone()
    }

    fn states(&self, now: u64) -> impl Iterator<Item = (&ScheduledKey, KeyState)> {
        self.schedule
            .iter()
            .map(move |key| (key, key_schedule::state(&self.schedule, key, now)))
    }
}

impl KeyRing {
    /// Replaces the keys by those read from PostgreSQL at `now` (ms since the epoch). Private keys
    /// that are already decrypted are reused.
    fn replace_keys(
        &self,
        stored: &[StoredKey],
        unseal: impl Fn(&StoredKey) -> Option<SigningKey>,
        now: u64,
    ) {
        let before = self.snapshot.load();
        let pairs: HashMap<Kid, KeyPair> = stored
            .iter()
            .map(|stored| {
                let decrypted = before
                    .pairs
                    .get(&stored.schedule.kid)
                    .and_then(|pair| pair.private.clone());
                let unsealed = unseal(stored);
                (
                    stored.schedule.kid,
                    KeyPair {
                        public: stored.key.public.as_slice().into(),
                        is_decryptable: unsealed.is_some(),
                        private: decrypted.or_else(|| unsealed.map(Arc::new)),
                    },
                )
            })
            .collect();
        let schedule: Vec<ScheduledKey> = stored.iter().map(|stored| stored.schedule).collect();
        // A concurrent revocation must not be overwritten.
        self.snapshot.rcu(|before| {
            KeySnapshot::new(schedule.clone(), pairs.clone(), before.revoked.clone(), now)
        });
    }

    /// Removes keys that have expired at `now` (ms since the epoch) from the keys that verify.
    fn refresh_states(&self, now: u64) {
        self.snapshot.rcu(|snapshot| {
            KeySnapshot::new(
                snapshot.schedule.clone(),
                snapshot.pairs.clone(),
                snapshot.revoked.clone(),
                now,
            )
        });
    }

    /// Revokes a key at `now` (ms since the epoch), so that it neither signs nor verifies.
    pub(super) fn revoke(&self, kid: Kid, now: u64) {
        let is_new = !self.snapshot.load().is_revoked(kid);
        self.snapshot
            .rcu(|snapshot| snapshot.with_revoked_key(kid, now));
        if is_new {
            tracing::info!(%kid, "signing key revoked");
            self.reload_ready.notify_one();
        }
    }
}

impl Keys {
    /// Returns an error if the keys aren't loaded yet, because no token can be issued or verified.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn require_loaded(&self) -> Result<(), Error> {
        self.ring.snapshot.load().require_loaded()
    }

    /// Signs with the current key.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn sign(&self, claims: &Claims) -> Result<String, Error> {
        self.signing_key()
            .await?
            .sign(claims)
            .map_err(Error::internal)
    }

    /// Returns the current signing key. If its revocation left no usable key, reloads the keys to
    /// find the successor.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn signing_key(&self) -> Result<Arc<SigningKey>, Error> {
        let current = self.ring.snapshot.load().signing_key(self.clock.now_ms());
        match current {
            Some(key) => Ok(key),
            // Boxed: cold path, keeps the caller's future small.
            None => Box::pin(self.signing_key_after_reload()).await,
        }
    }

    /// Runs a verification with the current keys. If the key of the token is unknown, reloads the
    /// keys and repeats the verification.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked`, `busy`, `unavailable`.
    pub(crate) async fn verify_with<T>(
        &self,
        verify: impl Fn(&VerifyingKeys) -> Result<T, TokenError>,
    ) -> Result<T, Error> {
        let verified = verify(&self.ring.snapshot.load().verifying);
        match verified {
            Ok(verified) => Ok(verified),
            // Boxed: cold path, keeps the caller's future small.
            Err(TokenError::UnknownKey(Some(kid))) => {
                Box::pin(self.verify_after_reload(kid, verify)).await
            }
            Err(_) => self.require_loaded().and(Err(Error::InvalidToken)),
        }
    }

    /// Returns the public keys with which resource servers verify tokens.
    ///
    /// # Errors
    /// `unavailable`, if the keys aren't loaded yet.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, Error> {
        self.require_loaded()?;
        let snapshot = self.ring.snapshot.load();
        let verifying = snapshot
            .states(self.clock.now_ms())
            .filter(|(_, state)| state.verifies());
        let to_public_key = |(key, _): (&ScheduledKey, _)| {
            snapshot.pairs.get(&key.kid).map(|pair| PublicKey {
                kid: key.kid,
                bytes: pair.public.clone(),
            })
        };
        Ok(verifying.filter_map(to_public_key).collect())
    }

    fn rotation_policy(&self) -> KeyRotationPolicy {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        KeyRotationPolicy {
            rotation: milliseconds(self.settings.rotation),
            max_age: milliseconds(self.settings.jwks_max_age),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::postgres::SealedKey;

    const NOW: u64 = 1_800_000_000_000;

    fn generate_pkcs8() -> Vec<u8> {
        SigningKey::generate().unwrap().expose_secret().to_vec()
    }

    fn stored_key(pkcs8: &[u8], signs_from: u64) -> StoredKey {
        let key = SigningKey::from_pkcs8(pkcs8).unwrap();
        let schedule = ScheduledKey {
            kid: key.kid(),
            signs_from,
            revoked_at: None,
        };
        StoredKey {
            schedule,
            key: SealedKey {
                kid: key.kid(),
                public: key.public().to_vec(),
                sealed: pkcs8.to_vec(),
            },
        }
    }

    fn decode_key(stored: &StoredKey) -> Option<SigningKey> {
        SigningKey::from_pkcs8(&stored.key.sealed)
    }

    fn signing_kid(ring: &KeyRing, now: u64) -> Option<Kid> {
        ring.snapshot.load().signing_key(now).map(|key| key.kid())
    }

    /// The keys can be read before the revocation is committed, or from a server that lacks it.
    #[test]
    fn revoked_key_stays_revoked_after_reload() {
        let ring = KeyRing::default();
        let keys = [
            stored_key(&generate_pkcs8(), NOW),
            stored_key(&generate_pkcs8(), NOW + 9_000),
        ];
        ring.replace_keys(&keys, decode_key, NOW);
        assert_eq!(signing_kid(&ring, NOW), Some(keys[0].schedule.kid));
        ring.revoke(keys[0].schedule.kid, NOW + 5);
        ring.revoke(keys[0].schedule.kid, NOW + 6);
        for _ in 0..2 {
            assert!(ring.snapshot.load().is_revoked(keys[0].schedule.kid));
            assert_eq!(
                signing_kid(&ring, NOW + 7),
                Some(keys[1].schedule.kid),
                "the next key signs early"
            );
            ring.replace_keys(&keys, decode_key, NOW + 7);
        }
        // The revocation arrives before the key is loaded.
        let ring = KeyRing::default();
        ring.revoke(keys[0].schedule.kid, NOW);
        ring.replace_keys(&keys[..1], decode_key, NOW);
        assert_eq!(signing_kid(&ring, NOW), None);
    }

    #[test]
    fn reload_keeps_decrypted_private_key() {
        let ring = KeyRing::default();
        let keys = [stored_key(&generate_pkcs8(), NOW)];
        ring.replace_keys(&keys, decode_key, NOW);
        ring.replace_keys(&keys, |_| None, NOW);
        assert_eq!(signing_kid(&ring, NOW), Some(keys[0].schedule.kid));
    }
}
