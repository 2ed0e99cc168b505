//! Telling Redis what the record holds: what has ended, and who somebody is. The order is always
//! the same: the rows in PostgreSQL, the scripts of the account (so that refreshing stops), then
//! the entries in the log (so that access tokens stop). Each part may be repeated.
//!
//! One thing is published before it is recorded: the reuse of a refresh token (`refresh.rs`), so
//! that a PostgreSQL that is down does not help the thief. Apart from that, this is the one way in
//! which anything is taken back, whatever the reason. What stands in the record and could not be
//! published is found there by `publisher.rs`, of this replica or of any other: the caller is told
//! with a 503 meanwhile.

use latchkey_domain::{account::Identity, revocation::RevocationBatch};
use uuid::Uuid;

use crate::{
    app::{
        Gateway,
        revocation::{WaitFor, log::PublishedBatch},
    },
    error::Error,
};

/// What the caller reads meanwhile.
const COMMITTED_NOT_PUBLISHED: &str = "The change is saved and takes effect when Redis is reachable. You don't \
    need to retry.";

impl Gateway {
    /// Tells Redis what was taken back, as the record has it, and waits until no replica accepts it
    /// any more.
    ///
    /// # Errors
    /// `unavailable`, where it could not be told now; it will be as soon as it answers.
    pub(crate) async fn publish(&self, ending: &RevocationBatch) -> Result<(), Error> {
        self.publish_for(ending, WaitFor::Enforced).await
    }

    /// The same for a caller who may not want to wait.
    ///
    /// # Errors
    /// As [`Gateway::publish`].
    pub(crate) async fn publish_for(
        &self,
        ending: &RevocationBatch,
        patience: WaitFor,
    ) -> Result<(), Error> {
        let pending = self
            .try_publish(ending)
            .await
            .map_err(|error| self.publish_pending(error))?;
        for entry in &ending.entries {
            metrics::counter!("latchkey_revocations_total", "kind" => entry.kind()).increment(1);
        }
        self.be_patient(pending, patience).await;
        Ok(())
    }

    /// Tells Redis once more what the record has held since before.
    ///
    /// # Errors
    /// As [`Gateway::publish`].
    pub(crate) async fn republish(&self, ending: &RevocationBatch) -> Result<(), Error> {
        let pending = self
            .try_publish(ending)
            .await
            .map_err(|error| self.publish_pending(error))?;
        self.be_patient(pending, WaitFor::Enforced).await;
        Ok(())
    }

    /// Tells Redis what the next tokens of an account say.
    ///
    /// # Errors
    /// As [`Gateway::publish`].
    pub(crate) async fn publish_identity(
        &self,
        sub: Uuid,
        identity: &Identity,
    ) -> Result<(), Error> {
        let stored = self
            .redis
            .store_identity(sub, identity, self.idle_seconds())
            .await;
        stored.map_err(|error| self.publish_pending(error))
    }

    /// The scripts of the account, and the entries after them: whoever sees an entry may rely on
    /// the rest. Nobody waits.
    pub(crate) async fn try_publish(
        &self,
        ending: &RevocationBatch,
    ) -> Result<Option<PublishedBatch>, Error> {
        if ending.entries.is_empty() {
            return Ok(None);
        }
        self.end_in_account(ending).await?;
        let now = self.clock.now();
        self.append(
            ending
                .entries
                .iter()
                .map(|entry| entry.entry(now))
                .collect(),
        )
        .await
        .map(Some)
    }

    /// The scripts of the account: no refresh token of what has ended is exchanged any more.
    pub(crate) async fn end_in_account(&self, ending: &RevocationBatch) -> Result<(), Error> {
        // A client or a key is nobody's.
        let Some(sub) = ending.sub else { return Ok(()) };
        if let Some(below) = ending.below() {
            self.redis
                .increment_generation(sub, below, self.idle_seconds())
                .await?;
        }
        let sessions = ending.sessions();
        if !sessions.is_empty() {
            self.redis
                .revoke_sessions(sub, &sessions, ending.reason)
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn be_patient(&self, pending: Option<PublishedBatch>, patience: WaitFor) {
        if let (Some(pending), WaitFor::Enforced) = (pending, patience) {
            let (by, taken) = self.wait_until_enforced(&pending).await;
            metrics::histogram!("latchkey_revocation_enforcement_seconds", "completion" => by)
                .record(taken.as_secs_f64());
        }
    }

    pub(crate) fn publish_pending(&self, error: Error) -> Error {
        self.revocations.republish_ready.notify_one();
        error.after_commit(COMMITTED_NOT_PUBLISHED)
    }
}
