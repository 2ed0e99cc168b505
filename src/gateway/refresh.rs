//! Exchanging a refresh token for the next pair.

use super::{Gateway, Pair};
use crate::{domain::refresh_token::RefreshToken, error::Error, redis::Rotation};

impl Gateway {
    /// Gives the next pair for the current refresh token of a session. A token that was used before ends the session: one
    /// of the two who have it is a thief.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `unavailable`.
    pub async fn refresh(&self, token: &str) -> Result<Pair, Error> {
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

    async fn try_refresh(&self, token: &str) -> Result<Pair, Error> {
        self.keys()?;
        let token = self.refresh_key.open(token).ok_or(Error::InvalidRefreshToken)?;
        let now = self.clock.now();
        match self.speed.rotate(&token, self.idle_seconds()).await? {
            Rotation::Rotated { counter, session, identity } => self.pair(&session, &identity, counter, now),
            Rotation::Unknown | Rotation::Ended => Err(Error::InvalidRefreshToken),
            Rotation::Reused => Err(self.end_reused(token).await),
        }
    }

    /// The script has written the tombstone; the record and the denylist follow.
    async fn end_reused(&self, token: RefreshToken) -> Error {
        tracing::warn!(event = "refresh_token_reused", sub = %token.sub, sid = %token.sid, "a refresh token was used twice; the session ends");
        match self.end_session(token.sub, token.sid, None, "reuse").await {
            Ok(()) => Error::RefreshTokenReused,
            Err(error) => error,
        }
    }
}
