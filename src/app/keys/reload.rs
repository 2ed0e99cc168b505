//! Reloads the signing keys from PostgreSQL, and verifies tokens of unknown keys after a reload.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use latchkey_domain::access_token::{Kid, SigningKey, TokenError, VerifyingKeys};

use crate::{
    app::keys::{
        Keys,
        reload_schedule::{ReloadDecision, ReloadOutcome},
        sealing::unseal,
    },
    error::Error,
};

/// The shortest interval between two reloads for unknown key IDs. An attacker can send tokens with
/// random key IDs.
const UNKNOWN_KID_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval between two reloads because no key can sign. Clients can't cause these
/// reloads, so the interval is shorter.
const NO_SIGNER_RELOAD_INTERVAL: Duration = Duration::from_millis(50);

impl Keys {
    /// Reloads the keys at least `min_interval` after the last reload, or waits for another reload
    /// that began after this call.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn reload_keys(&self, min_interval: Duration) -> Result<(), Error> {
        let arrived = Instant::now();
        loop {
            let mut schedule = self.ring.reload_schedule.lock().await;
            match schedule.on_request(Instant::now(), arrived, min_interval) {
                ReloadDecision::Reload => {
                    let outcome = self.read_keys().await;
                    schedule.on_finished(ReloadOutcome::of(&outcome));
                    return outcome;
                }
                ReloadDecision::Share(ReloadOutcome::Loaded) => return Ok(()),
                ReloadDecision::Share(ReloadOutcome::Failed) => {
                    return Err(Error::unavailable("the signing keys could not be loaded"));
                }
                ReloadDecision::WaitUntil(time) => {
                    drop(schedule);
                    tokio::time::sleep_until(time.into()).await;
                }
            }
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
        let unknown_keys = &self.ring.unknown_keys;
        let now = self.clock.now_ms();
        let _permit = unknown_keys.on_unknown_key(&self.ring.snapshot.load(), kid, now)?;
        self.reload_keys(UNKNOWN_KID_RELOAD_INTERVAL).await?;
        let snapshot = self.ring.snapshot.load();
        unknown_keys.on_reloaded(&snapshot, kid, verify(&snapshot.verifying))
    }

    /// Reloads the keys and returns the current signing key.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn signing_key_after_reload(&self) -> Result<Arc<SigningKey>, Error> {
        self.reload_keys(NO_SIGNER_RELOAD_INTERVAL).await?;
        let current = self.ring.snapshot.load().signing_key(self.clock.now_ms());
        current.ok_or_else(|| Error::unavailable("no signing key is usable"))
    }
}
