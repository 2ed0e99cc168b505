//! Telling Redis what the record holds: what has ended, and who somebody is. The order is always the same: the rows in
//! PostgreSQL, the scripts of the account (so that refreshing stops), then the entries on the denylist (so that access
//! tokens stop). Each part may be repeated.
//!
//! One thing is published before it is recorded: the reuse of a refresh token (`refresh.rs`), so that a PostgreSQL that is
//! down does not help the thief. Apart from that, this is the one way in which anything is taken back, whatever the reason.
//! What stands in the record and could not be published is found there by `publisher.rs`, of this replica or of any other:
//! the caller is told with a 503 meanwhile.

use uuid::Uuid;

use super::Gateway;
use crate::{
    domain::{
        account::Identity,
        revocation::{Ending, Revocation},
    },
    error::Error,
};

/// What the caller reads meanwhile.
const TOLD_LATER: &str =
    "The change was made and needs no repeat, but a store could not be told of it; it will be as soon as it answers.";

impl Gateway {
    /// Tells Redis what was taken back, as the record has it.
    ///
    /// # Errors
    /// `unavailable`, where it could not be told now; it will be as soon as it answers.
    pub(super) async fn publish(&self, ending: &Ending) -> Result<(), Error> {
        if ending.entries.is_empty() {
            return Ok(());
        }
        self.try_publish(ending).await.map_err(|error| self.told_later(error))?;
        count(ending);
        Ok(())
    }

    /// Tells Redis once more what the record has held since before.
    ///
    /// # Errors
    /// As [`Gateway::publish`].
    pub(super) async fn republish(&self, ending: &Ending) -> Result<(), Error> {
        self.try_publish(ending).await.map_err(|error| self.told_later(error))
    }

    /// Tells Redis what the next tokens of an account say.
    ///
    /// # Errors
    /// As [`Gateway::publish`].
    pub(super) async fn publish_identity(&self, sub: Uuid, identity: &Identity) -> Result<(), Error> {
        let stored = self.speed.store_identity(sub, identity, self.idle_seconds()).await;
        stored.map_err(|error| self.told_later(error))
    }

    /// Both scripts, that of the account first: whoever sees the entry may rely on the rest.
    pub(super) async fn try_publish(&self, ending: &Ending) -> Result<(), Error> {
        if let Some(below) = ending.below() {
            self.speed.raise_generation(ending.sub, below, self.idle_seconds()).await?;
        }
        let sessions = ending.sessions();
        if !sessions.is_empty() {
            self.speed.end_sessions(ending.sub, &sessions, ending.reason).await?;
        }
        self.speed.revoke(&ending.entries, self.clock.now()).await
    }

    fn told_later(&self, error: Error) -> Error {
        self.publisher_bell.notify_one();
        error.after_commit(TOLD_LATER)
    }
}

fn count(ending: &Ending) {
    for entry in &ending.entries {
        let kind = match entry {
            Revocation::Session { .. } => "session",
            Revocation::User { .. } => "user",
            Revocation::Token { .. } => "token",
        };
        metrics::counter!("latchkey_revocations_total", "kind" => kind).increment(1);
    }
}
