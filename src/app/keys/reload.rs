//! Reading the record, because something is not known here: one at a time, and for whoever waits at
//! that moment.

use std::time::{Duration, Instant};

use latchkey_domain::{
    access_token::{Kid, SigningKey, TokenError, VerifyingKeys},
    key_schedule::KeyState,
};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::{
    app::{Gateway, keys::sealing::unseal},
    error::Error,
};

/// Between two looks because of keys that nobody knows: anybody can write a token that names one.
const UNKNOWN_KID_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks because no key signs: only we are the reason.
const NO_SIGNER_RELOAD_INTERVAL: Duration = Duration::from_millis(50);

/// Checks that may wait for a look at once; those beyond are refused at once.
const MAX_WAITING_CHECKS: usize = 1024;

/// Ids of keys that were looked for in vain.
const UNKNOWN_KID_CACHE_SIZE: usize = 1024;

/// Looks at the record, one after the other.
pub struct KeyReloader {
    last: Mutex<Reload>,
    waiting: Semaphore,
    /// Ids that no key in the record had when a token came with them. None ever will: an id is made
    /// of its key, and a key is in the record before it signs.
    unknown_kids: Cache<Kid, ()>,
}

/// The last look.
#[derive(Clone, Copy, Default)]
struct Reload {
    began: Option<Instant>,
    /// Whether it told something; nothing while it goes on, and where it was broken off.
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

impl Gateway {
    /// Reads the keys, or waits for a reading that begins from now on; never sooner than this after
    /// the last one.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn reload_keys(&self, pause: Duration) -> Result<(), Error> {
        let arrived = Instant::now();
        loop {
            let mut last = self.keys.reloader.last.lock().await;
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
            let next = last.began.map_or(arrived, |began| began + pause);
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
        self.keys.load(
            &stored,
            |key| unseal(&self.config.secret, key),
            self.clock.now_ms(),
        );
        Ok(())
    }

    /// A key that is not known may be one that another replica has just made.
    pub(crate) async fn verify_after_reload<T>(
        &self,
        kid: Kid,
        open: impl Fn(&VerifyingKeys) -> Result<T, TokenError>,
    ) -> Result<T, Error> {
        self.require_loaded()?;
        if self.keys.known.load().is_revoked(kid) {
            return Err(Error::TokenRevoked);
        }
        if self.is_expired(kid) || self.keys.reloader.unknown_kids.get(&kid).is_some() {
            return Err(Error::InvalidToken);
        }
        let _place = self
            .keys
            .reloader
            .waiting
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.reload_keys(UNKNOWN_KID_RELOAD_INTERVAL).await?;
        let known = self.keys.known.load();
        match open(&known.verifying) {
            Ok(opened) => Ok(opened),
            Err(TokenError::UnknownKey(_)) if known.is_revoked(kid) => Err(Error::TokenRevoked),
            Err(TokenError::UnknownKey(_)) => {
                self.keys.reloader.unknown_kids.insert(kid, ());
                Err(Error::InvalidToken)
            }
            Err(_) => Err(Error::InvalidToken),
        }
    }

    /// Whether the key was ours, and all its tokens are dead.
    fn is_expired(&self, kid: Kid) -> bool {
        let known = self.keys.known.load();
        known
            .states(self.clock.now_ms())
            .any(|(life, state)| life.kid == kid && state == KeyState::Expired)
    }

    pub(crate) async fn signer_after_reload(&self) -> Result<std::sync::Arc<SigningKey>, Error> {
        self.reload_keys(NO_SIGNER_RELOAD_INTERVAL).await?;
        let signer = self.keys.known.load().signer(self.clock.now_ms());
        signer.ok_or_else(|| Error::unavailable("no signing key is usable"))
    }
}
