//! Key administration by the operator: list, rotate, and revoke signing keys.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{self, KeyState, ScheduledKey},
};
use time::OffsetDateTime;

use crate::{
    app::{clock::timestamp_from_ms, keys::Keys},
    error::Error,
};

/// A signing key in the list for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    pub kid: Kid,
    pub state: KeyState,
    /// The time from which the key signs.
    pub since: OffsetDateTime,
    /// The time at which the state ends, if it is scheduled. The current key signs until the next
    /// key takes over. Any other key is kept until its last token has expired.
    pub until: Option<OffsetDateTime>,
}

/// The result of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationOutcome {
    /// The next key was created.
    Created {
        kid: Kid,
        /// The time from which the key signs.
        signs_from: OffsetDateTime,
    },
    /// A next key already exists, so no key was created.
    AlreadyWaiting,
}

impl Keys {
    /// Reloads the keys from PostgreSQL and lists them, newest first.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_keys(&self) -> Result<Vec<ListedKey>, Error> {
        self.reload_keys(Duration::ZERO).await?;
        let (snapshot, now) = (self.ring.snapshot.load(), self.clock.now_ms());
        let to_listed_key = |(key, state): (&ScheduledKey, KeyState)| ListedKey {
            kid: key.kid,
            state,
            since: timestamp_from_ms(key.signs_from),
            until: key_schedule::find_state_end(&snapshot.schedule, key, now)
                .map(timestamp_from_ms),
        };
        Ok(snapshot.states(now).map(to_listed_key).collect())
    }

    /// Creates the next key, unless one exists. The key signs after the lead time, so that all
    /// caches of the JWK set (RFC 7517) contain it by then.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn rotate_key(&self) -> Result<RotationOutcome, Error> {
        let key = self.new_key()?;
        let delay = |schedule: &[_], now| self.rotation_policy().delay_on_request(schedule, now);
        let added = self
            .postgres
            .add_signing_key(&key, Actor::Operator, delay)
            .await?;
        let to_outcome = |signs_from| RotationOutcome::Created {
            kid: key.kid,
            signs_from: timestamp_from_ms(signs_from),
        };
        Ok(added.map_or(RotationOutcome::AlreadyWaiting, to_outcome))
    }

    /// Revokes a key, so that no replica accepts its tokens. If it was the current key, another key
    /// signs immediately, and its ID is returned.
    ///
    /// A repeated call publishes the revocation again, because the first call might have failed to
    /// publish it.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_key(self: &Arc<Self>, kid: Kid) -> Result<Option<Kid>, Error> {
        let keys = self.clone();
        self.tasks
            .run_to_completion(async move {
                let new = keys.new_key()?;
                let revoked = keys
                    .postgres
                    .revoke_signing_key(kid, &new, Actor::Operator)
                    .await?;
                let revoked = revoked.ok_or(Error::NotFound)?;
                keys.revocations.publish(&revoked.batch).await?;
                Ok(revoked.successor)
            })
            .await
    }
}
