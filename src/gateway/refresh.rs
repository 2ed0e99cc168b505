//! Exchanging a refresh token for the next pair.

use std::sync::Arc;

use super::{Gateway, Pair, publish::Change};
use crate::{
    domain::{refresh_token::RefreshToken, revocation::Revocation},
    error::Error,
    redis::Rotation,
};

impl Gateway {
    /// Gives the next pair for the current refresh token of a session. A token that was used before ends the session: one
    /// of the two who have it is a thief.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `unavailable`.
    pub async fn refresh(self: &Arc<Self>, token: &str) -> Result<Pair, Error> {
        let outcome = self.try_refresh(token).await;
        let label = match &outcome {
            Ok(_) => "success",
            Err(Error::RefreshTokenReused) => "reused",
            Err(Error::InvalidRefreshToken) => "failure",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_refreshes_total", "outcome" => label).increment(1);
        outcome
    }

    async fn try_refresh(self: &Arc<Self>, token: &str) -> Result<Pair, Error> {
        self.keys()?;
        let token = self.refresh_key.open(token).ok_or(Error::InvalidRefreshToken)?;
        let now = self.clock.now();
        match self.speed.rotate(&token, self.idle_seconds()).await? {
            Rotation::Rotated { counter, session, identity } => self.pair(&session, &identity, counter, now),
            Rotation::Reused => Err(self.end_reused(token).await?),
            Rotation::Ended { unrecorded: true } => {
                self.end_reused(token).await?;
                Err(Error::InvalidRefreshToken)
            }
            Rotation::Unknown | Rotation::Ended { unrecorded: false } => Err(Error::InvalidRefreshToken),
        }
    }

    /// The script has written the tombstone, marked as unrecorded. The denylist comes before the record here, so that a
    /// PostgreSQL that is down does not help the thief; whoever meets the mark later writes the record.
    async fn end_reused(self: &Arc<Self>, token: RefreshToken) -> Result<Error, Error> {
        let RefreshToken { sub, sid, .. } = token;
        tracing::warn!(event = "refresh_token_reused", %sub, %sid, "a refresh token was used twice; the session ends");
        let gateway = self.clone();
        let story = async move {
            // If this fails, so does publishing below, which then goes on trying.
            let _ = gateway.speed.revoke(&[Revocation::Session { sid }], gateway.clock.now()).await;
            gateway.record.end_session(sid, "reuse").await?;
            gateway.publish(Change::of_sessions(sub, vec![sid], "reuse")).await
        };
        self.uncancelled(story).await.map(|()| Error::RefreshTokenReused)
    }
}
