//! Reading the record, because something is not known here: one at a time, and for whoever waits at
//! that moment.

use std::time::{Duration, Instant};

use latchkey_domain::{
    access_token::{Flaw, Kid, SigningKey, VerifyingKeys},
    key_schedule::State,
};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::{
    app::{Gateway, keys::sealing::unseal},
    error::Error,
};

/// Between two looks because of keys that nobody knows: anybody can write a token that names one.
const FOR_STRANGERS: Duration = Duration::from_secs(1);

/// Between two looks because no key signs: only we are the reason.
const FOR_US: Duration = Duration::from_millis(50);

/// Checks that may wait for a look at once; those beyond are refused at once.
const MOST_WAITING: usize = 1024;

/// Ids of keys that were looked for in vain.
const REMEMBERED: usize = 1024;

/// Looks at the record, one after the other.
pub struct Looks {
    last: Mutex<Look>,
    waiting: Semaphore,
    /// Ids that no key in the record had when a token came with them. None ever will: an id is made
    /// of its key, and a key is in the record before it signs.
    strange: Cache<Kid, ()>,
}

/// The last look.
#[derive(Clone, Copy, Default)]
struct Look {
    began: Option<Instant>,
    /// Whether it told something; nothing while it goes on, and where it was broken off.
    succeeded: Option<bool>,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks {
            last: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
            strange: Cache::new(REMEMBERED),
        }
    }
}

impl Gateway {
    /// Reads the keys, or waits for a reading that begins from now on; never sooner than this after
    /// the last one.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn look_at_keys(&self, pause: Duration) -> Result<(), Error> {
        let arrived = Instant::now();
        loop {
            let mut last = self.keys.looks.last.lock().await;
            match *last {
                Look {
                    began: Some(began),
                    succeeded: Some(true),
                } if began >= arrived => return Ok(()),
                Look {
                    began: Some(began),
                    succeeded: Some(false),
                } if began >= arrived => {
                    return Err(Error::unavailable("the signing keys could not be loaded"));
                }
                _earlier => {}
            }
            let next = last.began.map_or(arrived, |began| began + pause);
            if next <= Instant::now() {
                *last = Look {
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
        let stored = self.record.signing_keys().await?;
        if stored.is_empty() {
            return Err(Error::unavailable("PostgreSQL contains no signing key"));
        }
        self.keys.learn(
            &stored,
            |key| unseal(&self.config.secret, key),
            self.clock.now_ms(),
        );
        Ok(())
    }

    /// A key that is not known may be one that another replica has just made.
    pub(crate) async fn open_after_look<T>(
        &self,
        kid: Kid,
        open: impl Fn(&VerifyingKeys) -> Result<T, Flaw>,
    ) -> Result<T, Error> {
        self.wants_keys()?;
        if self.keys.known.load().is_revoked(kid) {
            return Err(Error::TokenRevoked);
        }
        if self.is_gone(kid) || self.keys.looks.strange.get(&kid).is_some() {
            return Err(Error::InvalidToken);
        }
        let _place = self
            .keys
            .looks
            .waiting
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.look_at_keys(FOR_STRANGERS).await?;
        let known = self.keys.known.load();
        match open(&known.verifying) {
            Ok(opened) => Ok(opened),
            Err(Flaw::Key(_)) if known.is_revoked(kid) => Err(Error::TokenRevoked),
            Err(Flaw::Key(_)) => {
                self.keys.looks.strange.insert(kid, ());
                Err(Error::InvalidToken)
            }
            Err(_) => Err(Error::InvalidToken),
        }
    }

    /// Whether the key was ours, and all its tokens are dead.
    fn is_gone(&self, kid: Kid) -> bool {
        let known = self.keys.known.load();
        known
            .states(self.clock.now_ms())
            .any(|(life, state)| life.kid == kid && state == State::Gone)
    }

    pub(crate) async fn signer_after_look(&self) -> Result<std::sync::Arc<SigningKey>, Error> {
        self.look_at_keys(FOR_US).await?;
        let signer = self.keys.known.load().signer(self.clock.now_ms());
        signer.ok_or_else(|| Error::unavailable("no signing key is usable"))
    }
}
