//! What the operator does with keys: looking at them, making the next one, taking one back.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::Kid,
    audit::Actor,
    key_schedule::{self, KeyState, ScheduledKey},
};
use time::OffsetDateTime;

use crate::{
    app::{Gateway, clock::moment},
    error::Error,
};

/// A key, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub kid: Kid,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it began to sign, or will.
    pub since: OffsetDateTime,
    /// When it ends: of the one that signs, when the next one takes over; of the others, when
    /// nobody needs it any more.
    pub until: Option<OffsetDateTime>,
}

/// What became of the wish for a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationOutcome {
    /// It was made.
    Created {
        /// The key.
        kid: Kid,
        /// When it will sign.
        signs_from: OffsetDateTime,
    },
    /// Another one waits for its time already, and nothing was done.
    AlreadyWaiting,
}

impl Gateway {
    /// All keys, as the record has them at this moment, the newest first.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_keys(&self) -> Result<Vec<ListedKey>, Error> {
        self.reload_keys(Duration::ZERO).await?;
        let (known, now) = (self.keys.known.load(), self.clock.now_ms());
        let shown = |(life, state): (&ScheduledKey, KeyState)| ListedKey {
            kid: life.kid,
            state,
            since: moment(life.signs_from),
            until: until(&known.schedule, life, state, now).map(moment),
        };
        Ok(known.states(now).map(shown).collect())
    }

    /// Makes the next key. It signs when everybody who keeps our keys must have read it.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn rotate_key(&self) -> Result<RotationOutcome, Error> {
        let key = self.new_key()?;
        let delay = |schedule: &[ScheduledKey], now| {
            key_schedule::waiting(schedule, now)
                .is_none()
                .then(|| self.pace().lead())
        };
        let added = self
            .postgres
            .add_signing_key(&key, Actor::Operator, delay)
            .await?;
        let made = |signs_from| RotationOutcome::Created {
            kid: key.kid,
            signs_from: moment(signs_from),
        };
        Ok(added.map_or(RotationOutcome::AlreadyWaiting, made))
    }

    /// Takes a key back: no replica accepts anything that it signed. Where it is the one that
    /// signs, another one does from now on, which is told. Repeating it is fine, and finishes what
    /// could not be published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_key(self: &Arc<Self>, kid: Kid) -> Result<Option<Kid>, Error> {
        let gateway = self.clone();
        self.run_to_completion(async move {
            let new = gateway.new_key()?;
            let revoked = gateway
                .postgres
                .revoke_signing_key(kid, &new, Actor::Operator)
                .await?;
            let revoked = revoked.ok_or(Error::NotFound)?;
            gateway.publish(&revoked.ending).await?;
            Ok(revoked.successor)
        })
        .await
    }
}

fn until(schedule: &[ScheduledKey], life: &ScheduledKey, state: KeyState, now: u64) -> Option<u64> {
    match state {
        KeyState::Current => key_schedule::waiting(schedule, now).map(|next| next.signs_from),
        KeyState::Next => None,
        KeyState::Retiring | KeyState::Revoked | KeyState::Expired => {
            key_schedule::ends_at(schedule, life)
        }
    }
}
