//! Reloads the signing keys from PostgreSQL. Reloads run one at a time and at limited intervals,
//! and all requests that wait meanwhile share one reload.

use std::time::{Duration, Instant};

use latchkey_domain::{
    access_token::{Kid, SigningKey, TokenError, VerifyingKeys},
    key_schedule::KeyState,
};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::{
    app::keys::{Keys, sealing::unseal},
    error::Error,
};

/// The shortest interval between two reloads for unknown key IDs. An attacker can send tokens with
/// random key IDs.
const UNKNOWN_KID_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval between two reloads because no key can sign. Clients can't cause these
/// reloads, so the interval is shorter.
const NO_SIGNER_RELOAD_INTERVAL: Duration = Duration::from_millis(50);

/// Token checks that can wait for a reload at the same time. Further checks fail immediately with
/// `busy`.
const MAX_WAITING_CHECKS: usize = 1024;

/// Unknown key IDs in the cache.
const UNKNOWN_KID_CACHE_SIZE: usize = 1024;

/// The state of reloads: the last one, the waiting checks, and the unknown key IDs.
pub struct KeyReloader {
    last: Mutex<Reload>,
    waiting: Semaphore,
    /// Key IDs of tokens that matched no key in PostgreSQL. They never will, because a key ID is
    /// derived from the key, and a key is stored before it signs.
    unknown_kids: Cache<Kid, ()>,
}

/// The last reload.
#[derive(Clone, Copy, Default)]
struct Reload {
    began: Option<Instant>,
    /// `None` while the reload runs, and if it was canceled.
    succeeded: Option<bool>,
}

impl Default for KeyReloader {
    fn default() -> KeyReloader {
        KeyReloader {
            last: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING_CHECKS),
            unknown_kids: Cache::new(UNKNOWN_KID_CACHE_SIZE),
        }
    }
}

impl Keys {
    /// Reloads the keys at least `min_interval` after the last reload, or waits for another reload
    /// that began after this call.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn reload_keys(&self, min_interval: Duration) -> Result<(), Error> {
        let arrived = Instant::now();
        loop {
            let mut last = self.ring.reloader.last.lock().await;
            match *last {
                Reload {
                    began: Some(began),
                    succeeded: Some(true),
                } if began >= arrived => return Ok(()),
                Reload {
                    began: Some(began),
                    succeeded: Some(false),
                } if began >= arrived => {
                    return Err(Error::unavailable("the signing keys could not be loaded"));
                }
                _earlier => {}
            }
            let next = last.began.map_or(arrived, |began| began + min_interval);
            if next <= Instant::now() {
                *last = Reload {
                    began: Some(Instant::now()),
                    succeeded: None,
                };
                let outcome = self.read_keys().await;
                last.succeeded = Some(outcome.is_ok());
                return outcome;
            }
            drop(last);
            tokio::time::sleep_until(next.into()).await;
        }
    }

    async fn read_keys(&self) -> Result<(), Error> {
        metrics::counter!("latchkey_signing_key_reloads_total").increment(1);
        let stored = self.postgres.list_signing_keys().await?;
        if stored.is_empty() {
            return Err(Error::unavailable("PostgreSQL contains no signing key"));
        }
        self.ring.replace_keys(
            &stored,
            |key| unseal(&self.settings.secret, key),
            self.clock.now_ms(),
        );
        Ok(())
    }

    /// Reloads the keys and repeats a verification, because another replica might have just created
    /// the unknown key.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked`, `busy`, `unavailable`.
    pub(crate) async fn verify_after_reload<T>(
        &self,
        kid: Kid,
        verify: impl Fn(&VerifyingKeys) -> Result<T, TokenError>,
    ) -> Result<T, Error> {
        self.require_loaded()?;
        if self.ring.snapshot.load().is_revoked(kid) {
            return Err(Error::TokenRevoked);
        }
        if self.is_expired(kid) || self.ring.reloader.unknown_kids.get(&kid).is_some() {
            return Err(Error::InvalidToken);
        }
        let _permit = self
            .ring
            .reloader
            .waiting
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.reload_keys(UNKNOWN_KID_RELOAD_INTERVAL).await?;
        let snapshot = self.ring.snapshot.load();
        match verify(&snapshot.verifying) {
            Ok(verified) => Ok(verified),
            Err(TokenError::UnknownKey(_)) if snapshot.is_revoked(kid) => Err(Error::TokenRevoked),
            Err(TokenError::UnknownKey(_)) => {
                self.ring.reloader.unknown_kids.insert(kid, ());
                Err(Error::InvalidToken)
            }
            Err(_) => Err(Error::InvalidToken),
        }
    }

    /// Whether the key existed and all its tokens have expired. Such a key needs no reload.
    fn is_expired(&self, kid: Kid) -> bool {
        let snapshot = self.ring.snapshot.load();
        snapshot
            .states(self.clock.now_ms())
            .any(|(key, state)| key.kid == kid && state == KeyState::Expired)
    }

    /// Reloads the keys and returns the current signing key.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn signing_key_after_reload(
        &self,
    ) -> Result<std::sync::Arc<SigningKey>, Error> {
        self.reload_keys(NO_SIGNER_RELOAD_INTERVAL).await?;
        let current = self.ring.snapshot.load().signing_key(self.clock.now_ms());
        current.ok_or_else(|| Error::unavailable("no signing key is usable"))
    }
}
