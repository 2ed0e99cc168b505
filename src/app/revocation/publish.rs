//! Publishes committed changes in Redis. The order is always the same: the rows in PostgreSQL, then
//! the scripts of the user (which stop refreshes), then the entries in the log (which stop access
//! tokens). Each step can be repeated.
//!
//! Only the reuse of a refresh token is published before it is committed (`sessions::refresh`), so
//! that reuse is detected while PostgreSQL is down. If publishing fails, the caller receives a 503,
//! and the republish worker of this or another replica publishes the rows.

use latchkey_domain::{
    account::Identity,
    audit::AuditEvent,
    revocation::{Entry, RevocationBatch, RevocationReason},
};
use uuid::Uuid;

use super::{Revocations, WaitFor, log::PublishedBatch};
use crate::error::Error;

/// The error detail if a change is committed but not yet published.
const COMMITTED_NOT_PUBLISHED: &str = "The change is saved and takes effect when Redis is \
    reachable. You don't need to retry.";

impl Revocations {
    /// Publishes a committed revocation, and waits until every replica rejects the revoked tokens.
    ///
    /// # Errors
    /// `unavailable` if it isn't published yet.
    pub(crate) async fn publish(&self, batch: &RevocationBatch) -> Result<(), Error> {
        self.publish_for(batch, WaitFor::Enforced).await
    }

    /// Publishes a committed revocation, and waits as the caller requests.
    ///
    /// # Errors
    /// `unavailable` if it isn't published yet.
    pub(crate) async fn publish_for(
        &self,
        batch: &RevocationBatch,
        wait_for: WaitFor,
    ) -> Result<(), Error> {
        let published = self
            .try_publish(batch)
            .await
            .map_err(|error| self.publish_pending(error))?;
        for revocation in &batch.revocations {
            metrics::counter!("latchkey_revocations_total", "kind" => revocation.subject().kind())
                .increment(1);
        }
        self.wait_for(published, wait_for).await;
        Ok(())
    }

    /// Revokes one session in PostgreSQL and publishes it. A session that is revoked already is
    /// published again.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn revoke_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        reason: RevocationReason,
        wait_for: WaitFor,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let batch = self
            .postgres
            .revoke_session(user_id, session_id, reason, event)
            .await?;
        self.publish_for(&batch, wait_for).await
    }

    /// Publishes a revocation again that was committed earlier.
    ///
    /// # Errors
    /// `unavailable` if it isn't published yet.
    pub(crate) async fn republish(&self, batch: &RevocationBatch) -> Result<(), Error> {
        let published = self
            .try_publish(batch)
            .await
            .map_err(|error| self.publish_pending(error))?;
        self.wait_for(published, WaitFor::Enforced).await;
        Ok(())
    }

    /// Publishes a committed change of a user's identity, for the next tokens of the user, and
    /// waits until no replica uses cached claims with an earlier identity.
    ///
    /// # Errors
    /// `unavailable` if it isn't published yet.
    pub(crate) async fn publish_identity(
        &self,
        user_id: Uuid,
        identity: &Identity,
    ) -> Result<(), Error> {
        let published = self
            .try_publish_identity(user_id, identity)
            .await
            .map_err(|error| self.publish_pending(error))?;
        self.wait_for(published, WaitFor::Enforced).await;
        Ok(())
    }

    async fn try_publish_identity(
        &self,
        user_id: Uuid,
        identity: &Identity,
    ) -> Result<Option<PublishedBatch>, Error> {
        let entry = Entry::of_identity(user_id, identity.version, self.clock.now());
        self.apply_committed(entry.as_slice());
        self.redis
            .store_identity(user_id, identity, self.settings.idle_seconds())
            .await?;
        match entry {
            Some(entry) => self.append(vec![entry]).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs the scripts of the user, then appends the entries: a replica that has read an entry can
    /// rely on the scripts. Returns without waiting for the replicas.
    pub(crate) async fn try_publish(
        &self,
        batch: &RevocationBatch,
    ) -> Result<Option<PublishedBatch>, Error> {
        if batch.revocations.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        let entries = batch
            .revocations
            .iter()
            .map(|revocation| revocation.entry(now));
        let entries: Vec<Entry> = entries.collect();
        // From now on, this replica rejects the tokens, even if Redis doesn't respond.
        self.apply_committed(&entries);
        self.stop_refreshes(batch).await?;
        self.append(entries).await.map(Some)
    }

    /// Publishes the committed revocations of several users with one script, without waiting for the
    /// replicas.
    ///
    /// # Errors
    /// `unavailable` if they aren't published yet.
    pub(crate) async fn publish_all(
        &self,
        batches: &[RevocationBatch],
    ) -> Result<Option<PublishedBatch>, Error> {
        if batches.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        let revocations = batches.iter().flat_map(|batch| &batch.revocations);
        let entries: Vec<Entry> = revocations
            .map(|revocation| revocation.entry(now))
            .collect();
        self.apply_committed(&entries);
        let publish = async {
            self.stop_refreshes_of_users(batches).await?;
            self.append(entries).await
        };
        let published = publish.await.map_err(|error| self.publish_pending(error))?;
        for revocation in batches.iter().flat_map(|batch| &batch.revocations) {
            metrics::counter!("latchkey_revocations_total", "kind" => revocation.subject().kind())
                .increment(1);
        }
        Ok(Some(published))
    }

    /// Runs the scripts of the user, so that no refresh token of a revoked session is rotated.
    pub(super) async fn stop_refreshes(&self, batch: &RevocationBatch) -> Result<(), Error> {
        // A revoked OAuth client or signing key has no refresh tokens.
        let Some(user_id) = batch.user_id else {
            return Ok(());
        };
        if let Some(min_generation) = batch.below() {
            let lifetime = self.settings.idle_seconds();
            match batch.reason {
                RevocationReason::UserDeleted => {
                    self.redis
                        .erase_user(user_id, min_generation, lifetime)
                        .await?;
                }
                _other => {
                    self.redis
                        .store_generation(user_id, min_generation, lifetime)
                        .await?;
                }
            }
        }
        let session_ids = batch.session_ids();
        if !session_ids.is_empty() {
            self.redis
                .revoke_sessions(user_id, &session_ids, batch.reason)
                .await?;
        }
        Ok(())
    }

    /// Waits for the replicas as requested, and records the time.
    pub(crate) async fn wait_for(&self, published: Option<PublishedBatch>, wait_for: WaitFor) {
        if let (Some(published), WaitFor::Enforced) = (published, wait_for) {
            let (completion, elapsed) = self.wait_until_enforced(&published).await;
            metrics::histogram!(
                "latchkey_revocation_enforcement_seconds",
                "completion" => completion
            )
            .record(elapsed.as_secs_f64());
        }
    }

    /// Wakes the republish worker, and turns the error into one of a committed change.
    fn publish_pending(&self, error: Error) -> Error {
        self.republish_ready.notify_one();
        error.after_commit(COMMITTED_NOT_PUBLISHED)
    }
}
