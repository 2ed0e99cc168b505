//! The worker that follows the record, and makes the next key when it is time. While PostgreSQL is
//! down everything goes on with what is known.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{self, State},
};
use tokio::time::timeout;

use crate::{
    app::Gateway,
    error::{Chain, Error},
};

/// The longest time between two looks. A key is published for longer before it signs, so it is
/// known in time.
const LOOK: Duration = Duration::from_secs(30);

/// Looks in the time for which others may keep what they have read of our keys.
const LOOKS: u32 = 10;

/// What was told the log.
#[derive(Default)]
struct Told {
    signer: Option<Kid>,
    failing: bool,
    sealed_otherwise: bool,
}

impl Gateway {
    /// Follows the record until the process ends.
    pub async fn watch_keys(self: Arc<Self>) {
        let mut told = Told {
            signer: self.signer(),
            ..Told::default()
        };
        loop {
            let _ = timeout(
                LOOK.min(self.config.jwks_max_age / LOOKS),
                self.keys.bell.notified(),
            )
            .await;
            let outcome = self.watch_once().await;
            // Also without an answer: a key may have had its time.
            self.keys.grow_older(self.clock.now_ms());
            self.tell_of_keys(&mut told, outcome.err());
        }
    }

    async fn watch_once(&self) -> Result<(), Error> {
        self.look_at_keys(Duration::ZERO).await?;
        if self
            .pace()
            .due(&self.keys.known.load().lives, self.clock.now_ms())
            .is_some()
        {
            // Another replica may be faster: decided once more, by the record.
            let due = |lives: &[_], now| self.pace().due(lives, now);
            self.record
                .add_signing_key(&self.new_key()?, Actor::Gateway, due)
                .await?;
            self.look_at_keys(Duration::ZERO).await?;
        }
        Ok(())
    }

    fn signer(&self) -> Option<Kid> {
        key_schedule::signer(&self.keys.known.load().lives, self.clock.now_ms())
            .map(|life| life.kid)
    }

    /// Tells the log of changes, not of every look.
    fn tell_of_keys(&self, told: &mut Told, failure: Option<Error>) {
        let signer = self.signer();
        if let Some(kid) = signer.filter(|_| signer != told.signer) {
            tracing::info!(%kid, "signing key active");
        }
        let sealed_otherwise = self.is_sealed_otherwise();
        if sealed_otherwise && !told.sealed_otherwise {
            tracing::error!(
                "decrypting a signing key failed: this replica has another LATCHKEY_SECRET"
            );
        }
        if let Some(error) = failure.as_ref().filter(|_| !told.failing) {
            tracing::warn!(error = %Chain(error), "signing key reload failed");
        }
        *told = Told {
            signer,
            failing: failure.is_some(),
            sealed_otherwise,
        };
    }

    fn is_sealed_otherwise(&self) -> bool {
        let known = self.keys.known.load();
        let mut signing = known
            .states(self.clock.now_ms())
            .filter(|(_, state)| matches!(state, State::Next | State::Current));
        signing.any(|(life, _)| {
            known
                .halves
                .get(&life.kid)
                .is_none_or(|halves| halves.private.is_none())
        })
    }

    /// For the metrics.
    pub(crate) fn measure_keys(&self) {
        let (known, now) = (self.keys.known.load(), self.clock.now_ms());
        for state in State::ALL {
            let count = known
                .states(now)
                .filter(|(_, other)| *other == state)
                .count();
            metrics::gauge!("latchkey_signing_keys", "state" => state.as_str()).set(count as f64);
        }
        if let Some(signer) = key_schedule::signer(&known.lives, now) {
            let age = Duration::from_millis(now.saturating_sub(signer.signs_from));
            metrics::gauge!("latchkey_signing_key_age_seconds").set(age.as_secs_f64());
        }
    }
}
