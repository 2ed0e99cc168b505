//! The key worker: reloads the signing keys periodically, and creates the next key when it is due.
//! While PostgreSQL is unavailable, the replica uses the keys in memory.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{self, KeyState},
};
use tokio::time::timeout;

use crate::{
    app::keys::Keys,
    error::{Chain, Error},
};

/// The longest interval between two reloads. A key is published for longer before it signs, so that
/// each replica loads it in time.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Reloads within the `max-age` of the JWK set (RFC 7517), so that a short `max-age` shortens the
/// interval.
const POLLS_PER_MAX_AGE: u32 = 10;

/// The state that was logged last.
#[derive(Default)]
struct LoggedState {
    signer: Option<Kid>,
    is_failing: bool,
    has_undecryptable_key: bool,
}

impl Keys {
    /// Runs until the process exits.
    pub async fn run_key_worker(self: Arc<Self>) {
        let mut logged = LoggedState {
            signer: self.signing_kid(),
            ..LoggedState::default()
        };
        loop {
            let _ = timeout(
                POLL_INTERVAL.min(self.settings.jwks_max_age / POLLS_PER_MAX_AGE),
                self.ring.reload_ready.notified(),
            )
            .await;
            let outcome = self.reload_and_rotate().await;
            // Also after a failure, because a key might have expired.
            self.ring.refresh_states(self.clock.now_ms());
            self.log_changes(&mut logged, outcome.err());
        }
    }

    async fn reload_and_rotate(&self) -> Result<(), Error> {
        self.reload_keys(Duration::ZERO).await?;
        if self
            .rotation_policy()
            .due(&self.ring.snapshot.load().schedule, self.clock.now_ms())
            .is_some()
        {
            // PostgreSQL checks again under a lock, because another replica might be faster.
            let due = |schedule: &[_], now| self.rotation_policy().due(schedule, now);
            self.postgres
                .add_signing_key(&self.new_key()?, Actor::Server, due)
                .await?;
            self.reload_keys(Duration::ZERO).await?;
        }
        Ok(())
    }

    fn signing_kid(&self) -> Option<Kid> {
        key_schedule::find_signer(&self.ring.snapshot.load().schedule, self.clock.now_ms())
            .map(|key| key.kid)
    }

    /// Logs changes only, not each reload.
    fn log_changes(&self, logged: &mut LoggedState, failure: Option<Error>) {
        let signer = self.signing_kid();
        if let Some(kid) = signer.filter(|_| signer != logged.signer) {
            tracing::info!(%kid, "signing key active");
        }
        let has_undecryptable_key = self.has_undecryptable_key();
        if has_undecryptable_key && !logged.has_undecryptable_key {
            tracing::error!(
                "decrypting a signing key failed: this replica has another LATCHKEY_SECRET"
            );
        }
        if let Some(error) = failure.as_ref().filter(|_| !logged.is_failing) {
            tracing::warn!(error = %Chain(error), "signing key reload failed");
        }
        *logged = LoggedState {
            signer,
            is_failing: failure.is_some(),
            has_undecryptable_key,
        };
    }

    fn has_undecryptable_key(&self) -> bool {
        let snapshot = self.ring.snapshot.load();
        let mut signing = snapshot
            .states(self.clock.now_ms())
            .filter(|(_, state)| matches!(state, KeyState::Next | KeyState::Current));
        signing.any(|(key, _)| {
            snapshot
                .pairs
                .get(&key.kid)
                .is_none_or(|pair| pair.private.is_none())
        })
    }

    /// Updates the gauges of signing keys.
    pub(crate) fn measure(&self) {
        let (snapshot, now) = (self.ring.snapshot.load(), self.clock.now_ms());
        for state in KeyState::ALL {
            let count = snapshot
                .states(now)
                .filter(|(_, other)| *other == state)
                .count();
            metrics::gauge!("latchkey_signing_keys", "state" => state.as_str()).set(count as f64);
        }
        if let Some(signer) = key_schedule::find_signer(&snapshot.schedule, now) {
            let age = Duration::from_millis(now.saturating_sub(signer.signs_from));
            metrics::gauge!("latchkey_signing_key_age_seconds").set(age.as_secs_f64());
        }
    }
}
