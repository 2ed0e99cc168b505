//! The key worker: reloads the signing keys periodically, and creates the next key when it is due.
//! While PostgreSQL is unavailable, the replica uses the keys in memory. The decisions are in the
//! domain ([`KeyWorker`]).

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{
        self, KeyState,
        worker::{KeyChange, KeyWorker, KeyWorkerAction, KeyWorkerReport},
    },
};
use strum::VariantArray;
use tokio::time::timeout;

use crate::{
    app::{
        impairment::{Component, Impairment},
        keys::Keys,
    },
    error::{Chain, Diagnosis, Error},
    postgres,
};

impl Keys {
    /// Runs until the process exits.
    pub async fn run_key_worker(self: Arc<Self>) {
        let mut worker = KeyWorker::new(self.rotation_policy());
        let mut logged = KeyWorkerReport {
            signer: self.signing_kid(),
            ..KeyWorkerReport::default()
        };
        let mut action = worker.action();
        loop {
            let outcome = self.perform(action).await;
            action = worker.on_finished(
                outcome.is_ok(),
                &self.ring.snapshot.load().schedule,
                self.clock.now_ms(),
            );
            if let KeyWorkerAction::Wait(_) = action {
                // Also after a failure, because a key might have expired.
                self.ring.refresh_states(self.clock.now_ms());
                self.log_changes(&mut logged, outcome.err());
            }
        }
    }

    async fn perform(&self, action: KeyWorkerAction) -> Result<(), Error> {
        match action {
            KeyWorkerAction::Wait(interval) => {
                let _ = timeout(interval, self.ring.reload_ready.notified()).await;
                Ok(())
            }
            KeyWorkerAction::Reload => self.reload_keys(Duration::ZERO).await,
            KeyWorkerAction::CreateNextKey => {
                // Decided again under a lock, because another replica might be faster.
                let due = |schedule: &[_], now| self.rotation_policy().due(schedule, now);
                self.postgres
                    .add_signing_key(&self.new_key()?, Actor::Server, due)
                    .await?;
                Ok(())
            }
        }
    }

    fn signing_kid(&self) -> Option<Kid> {
        key_schedule::find_signer(&self.ring.snapshot.load().schedule, self.clock.now_ms())
            .map(|key| key.kid)
    }

    fn log_changes(&self, logged: &mut KeyWorkerReport, failure: Option<Error>) {
        let report = KeyWorkerReport {
            signer: self.signing_kid(),
            has_undecryptable_key: self.has_undecryptable_key(),
            has_failed: failure.is_some(),
        };
        for change in report.changes_since(logged) {
            match change {
                KeyChange::SignerActive(kid) => tracing::info!(%kid, "signing key active"),
                KeyChange::KeyUndecryptable => tracing::error!(
                    "decrypting a signing key failed: LATCHKEY_SECRET differs from that of the \
                     other replicas"
                ),
                KeyChange::RoundFailed => {
                    if let Some(error) = &failure {
                        tracing::warn!(error = %Chain(error), "signing key reload failed");
                    }
                }
            }
        }
        *logged = report;
        *self.ring.last_failure.lock().expect("no holder panics") =
            failure.as_ref().map(postgres::diagnose);
    }

    /// The impairment of the signing keys.
    pub(crate) fn impairment(&self) -> Option<Impairment> {
        // Before the first load, another impairment states why the replica doesn't start.
        self.require_loaded().ok()?;
        let diagnosis = if self.signing_kid().is_none() {
            Diagnosis::new(
                "No signing key is usable, so sign-in and refresh return 503.",
                "Run `latchkey keys rotate`.",
            )
        } else if self.has_undecryptable_key() {
            Diagnosis::new(
                "`LATCHKEY_SECRET` can't decrypt a signing key, because another replica has \
                 encrypted it with a secret that this replica lacks. Refresh tokens of that replica \
                 are invalid here.",
                "Set the same `LATCHKEY_SECRET` for all replicas; during rotation, set both \
                 secrets, separated by a comma.",
            )
        } else {
            self.ring
                .last_failure
                .lock()
                .expect("no holder panics")
                .clone()?
        };
        Some(Impairment::new(Component::SigningKeys, diagnosis))
    }

    fn has_undecryptable_key(&self) -> bool {
        let snapshot = self.ring.snapshot.load();
        let mut signing = snapshot
            .states(self.clock.now_ms())
            .filter(|(_, state)| state.needs_private_key());
        signing.any(|(key, _)| {
            snapshot
                .pairs
                .get(&key.kid)
                .is_none_or(|pair| !pair.is_decryptable)
        })
    }

    /// Updates the gauges of signing keys.
    pub(crate) fn measure(&self) {
        let (snapshot, now) = (self.ring.snapshot.load(), self.clock.now_ms());
        for state in KeyState::VARIANTS {
            let count = snapshot
                .states(now)
                .filter(|(_, other)| other == state)
                .count();
            metrics::gauge!("latchkey_signing_keys", "state" => state.as_str()).set(count as f64);
        }
        if let Some(signer) = key_schedule::find_signer(&snapshot.schedule, now) {
            let age = Duration::from_millis(now.saturating_sub(signer.signs_from));
            metrics::gauge!("latchkey_signing_key_age_seconds").set(age.as_secs_f64());
        }
    }
}
