//! Exchanging a refresh token for the next pair.

use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, Kind},
    refresh_token::RefreshToken,
    revocation::{Reason, Revocation},
    scope::Scopes,
};

use crate::{
    app::{Gateway, Origin, Pair, clock::moment},
    error::Error,
    postgres::Seen,
    redis::{RefreshRules, Rotated, Rotation},
};

impl Gateway {
    /// Gives the next pair for the current refresh token of a session; for its parent, a moment
    /// later, the same again. An older token ends the session: one of the two who have it is a
    /// thief. The access token may be used for what is wanted, which the session must have (RFC
    /// 6749 section 6); where nothing is wanted, for all that the session has.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `insufficient_scope`, `too_many_requests`,
    /// `unavailable`.
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<Pair, Error> {
        let outcome = self.try_refresh(token, wanted, origin).await;
        let label = match &outcome {
            Ok(_) => "success",
            Err(Error::RefreshTokenReused) => "reused",
            Err(Error::InvalidRefreshToken) => "failure",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_refreshes_total", "outcome" => label).increment(1);
        self.count_failed_refresh(outcome, origin).await
    }

    async fn try_refresh(
        self: &Arc<Self>,
        token: &str,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<Pair, Error> {
        self.wants_keys()?;
        let token = self
            .refresh_key
            .open(token)
            .ok_or(Error::InvalidRefreshToken)?;
        if self.recorder.is_full() {
            return Err(Error::unavailable(
                "too many refreshes wait to be written to PostgreSQL",
            ));
        }
        // Before the token is exchanged: it is not to be lost to a wish that cannot be fulfilled.
        if let Some(wanted) = wanted {
            Box::pin(self.check_scopes(&token, wanted)).await?;
        }
        let now = self.clock.now();
        let (gateway, origin) = (self.clone(), origin.clone());
        // A rotation that happened is recorded, even if nobody waits for its answer any more.
        let rotated = self
            .uncancelled(async move { gateway.exchange(&token, &origin).await })
            .await?;
        let mut session = rotated.session;
        if let Some(wanted) = wanted {
            session.scope = wanted.and(Scopes::granted(&session.scope)).to_string();
        }
        self.pair(&session, &rotated.identity, rotated.counter, now)
            .await
    }

    async fn check_scopes(&self, token: &RefreshToken, wanted: Scopes) -> Result<(), Error> {
        let remembered = self
            .speed
            .look_at_session(token.sub, token.sid)
            .await?
            .filter(|session| session.at_home);
        let scope = match remembered.and_then(|session| session.scope) {
            Some(scope) => Some(scope),
            None => self.record.session_scope(token.sub, token.sid).await?,
        };
        let scope = scope.ok_or(Error::InvalidRefreshToken)?;
        let has = Scopes::granted(&scope);
        if wanted.is_within(has) {
            Ok(())
        } else {
            Err(Error::InsufficientScope(scope.into()))
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        token: &RefreshToken,
        origin: &Origin,
    ) -> Result<Rotated, Error> {
        let rules = self.refresh_rules();
        let rotation = match self.speed.rotate(token, &rules).await? {
            // Rare, and large, like reuse below: no refresh needs to have room for it.
            Rotation::Away { seen } => Box::pin(self.adopt(token, &rules, seen)).await?,
            rotation => rotation,
        };
        match rotation {
            Rotation::Passed(rotated) => {
                let Rotated {
                    counter,
                    at,
                    session,
                    ..
                } = rotated.as_ref();
                self.recorder.note(Seen {
                    sub: session.sub,
                    sid: session.sid,
                    counter: *counter,
                    at: moment(*at),
                    address: origin.address.to_string(),
                });
                Ok(*rotated)
            }
            Rotation::Reused => Err(Box::pin(self.end_reused(token, origin)).await?),
            Rotation::Ended { unrecorded: true } => {
                Box::pin(self.end_reused(token, origin)).await?;
                Err(Error::InvalidRefreshToken)
            }
            Rotation::Ended { unrecorded: false } => Err(Error::InvalidRefreshToken),
            Rotation::Away { .. } | Rotation::Late => {
                Err(Error::unavailable("restoring a session timed out"))
            }
        }
    }

    /// The script has written the tombstone, marked as unrecorded. The log comes before the record
    /// here, so that a PostgreSQL that is down does not help the thief; whoever meets the mark
    /// later writes the record.
    async fn end_reused(&self, token: &RefreshToken, origin: &Origin) -> Result<Error, Error> {
        let RefreshToken { sub, sid, .. } = *token;
        let event = origin
            .event(Kind::RefreshTokenReused, Actor::Stranger, Some(sub))
            .of_session(sid);
        // If this fails, so does publishing below, and the publisher makes up for it.
        let _ = self
            .append(vec![Revocation::Session { sid }.entry(self.clock.now())])
            .await;
        let ending = self
            .record
            .end_session(sub, sid, Reason::Reuse, &event)
            .await?;
        self.publish(&ending).await?;
        Ok(Error::RefreshTokenReused)
    }

    fn refresh_rules(&self) -> RefreshRules {
        let milliseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        RefreshRules {
            idle: milliseconds(self.config.session_idle_timeout),
            grace: milliseconds(self.config.refresh_reuse_interval),
            patience: milliseconds((self.config.database_timeout + self.config.redis_timeout) * 2),
        }
    }
}
