//! The worker that follows the record, and makes the next key when it is time. While PostgreSQL is
//! down everything goes on with what is known.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{self, KeyState},
};
use tokio::time::timeout;

use crate::{
    app::Gateway,
    error::{Chain, Error},
};

/// The longest time between two looks. A key is published for longer before it signs, so it is
/// known in time.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Looks in the time for which others may keep what they have read of our keys.
const POLLS_PER_MAX_AGE: u32 = 10;

/// What was told the log.
#[derive(Default)]
struct LoggedState {
    signer: Option<Kid>,
    failing: bool,
    undecryptable: bool,
}

impl Gateway {
    /// Follows the record until the process ends.
    pub async fn run_key_worker(self: Arc<Self>) {
        let mut logged = LoggedState {
            signer: self.signer(),
            ..LoggedState::default()
        };
        loop {
            let _ = timeout(
                POLL_INTERVAL.min(self.config.jwks_max_age / POLLS_PER_MAX_AGE),
                self.keys.reload_ready.notified(),
            )
            .await;
            let outcome = self.watch_once().await;
            // Also without an answer: a key may have had its time.
            self.keys.refresh_states(self.clock.now_ms());
            self.log_changes(&mut logged, outcome.err());
        }
    }

    async fn watch_once(&self) -> Result<(), Error> {
        self.reload_keys(Duration::ZERO).await?;
        if self
            .pace()
            .due(&self.keys.known.load().schedule, self.clock.now_ms())
            .is_some()
        {
            // Another replica may be faster: decided once more, by the record.
            let due = |schedule: &[_], now| self.pace().due(schedule, now);
            self.postgres
                .add_signing_key(&self.new_key()?, Actor::Server, due)
                .await?;
            self.reload_keys(Duration::ZERO).await?;
        }
        Ok(())
    }

    fn signer(&self) -> Option<Kid> {
        key_schedule::signer(&self.keys.known.load().schedule, self.clock.now_ms())
            .map(|life| life.kid)
    }

    /// Tells the log of changes, not of every look.
    fn log_changes(&self, logged: &mut LoggedState, failure: Option<Error>) {
        let signer = self.signer();
        if let Some(kid) = signer.filter(|_| signer != logged.signer) {
            tracing::info!(%kid, "signing key active");
        }
        let undecryptable = self.has_undecryptable_key();
        if undecryptable && !logged.undecryptable {
            tracing::error!(
                "decrypting a signing key failed: this replica has another LATCHKEY_SECRET"
            );
        }
        if let Some(error) = failure.as_ref().filter(|_| !logged.failing) {
            tracing::warn!(error = %Chain(error), "signing key reload failed");
        }
        *logged = LoggedState {
            signer,
            failing: failure.is_some(),
            undecryptable,
        };
    }

    fn has_undecryptable_key(&self) -> bool {
        let known = self.keys.known.load();
        let mut signing = known
            .states(self.clock.now_ms())
            .filter(|(_, state)| matches!(state, KeyState::Next | KeyState::Current));
        signing.any(|(life, _)| {
            known
                .pairs
                .get(&life.kid)
                .is_none_or(|pairs| pairs.private.is_none())
        })
    }

    /// For the metrics.
    pub(crate) fn measure_keys(&self) {
        let (known, now) = (self.keys.known.load(), self.clock.now_ms());
        for state in KeyState::ALL {
            let count = known
                .states(now)
                .filter(|(_, other)| *other == state)
                .count();
            metrics::gauge!("latchkey_signing_keys", "state" => state.as_str()).set(count as f64);
        }
        if let Some(signer) = key_schedule::signer(&known.schedule, now) {
            let age = Duration::from_millis(now.saturating_sub(signer.signs_from));
            metrics::gauge!("latchkey_signing_key_age_seconds").set(age.as_secs_f64());
        }
    }
}
