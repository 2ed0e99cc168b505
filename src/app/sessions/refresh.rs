//! Exchanging a refresh token for the next pair.

use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, EventKind},
    refresh_token::RefreshToken,
    revocation::{Reason, Revocation},
    scope::Scopes,
};

use crate::{
    app::{Gateway, Origin, TokenPair, clock::moment},
    error::Error,
    postgres::SessionActivity,
    redis::{RefreshPolicy, RotatedSession, Rotation},
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
    ) -> Result<TokenPair, Error> {
        let outcome = self.try_refresh(token, wanted, origin).await;
        let label = match &outcome {
            Ok(_) => "success",
            Err(Error::RefreshTokenReused) => "reused",
            Err(Error::InvalidRefreshToken) => "failure",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_refreshes_total", "outcome" => label).increment(1);
        self.rate_limit_failed_refresh(outcome, origin).await
    }

    async fn try_refresh(
        self: &Arc<Self>,
        token: &str,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<TokenPair, Error> {
        self.require_loaded()?;
        let token = self
            .refresh_key
            .open(token)
            .ok_or(Error::InvalidRefreshToken)?;
        if self.activity.is_full() {
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
            .run_to_completion(async move { gateway.rotate(&token, &origin).await })
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
            .redis
            .inspect_session(token.sub, token.sid)
            .await?
            .filter(|session| session.at_home);
        let scope = match remembered.and_then(|session| session.scope) {
            Some(scope) => Some(scope),
            None => self.postgres.session_scope(token.sub, token.sid).await?,
        };
        let scope = scope.ok_or(Error::InvalidRefreshToken)?;
        let has = Scopes::granted(&scope);
        if wanted.is_within(has) {
            Ok(())
        } else {
            Err(Error::InsufficientScope(scope.into()))
        }
    }

    async fn rotate(
        self: &Arc<Self>,
        token: &RefreshToken,
        origin: &Origin,
    ) -> Result<RotatedSession, Error> {
        let rules = self.refresh_policy();
        let rotation = match self.redis.rotate(token, &rules).await? {
            // Rare, and large, like reuse below: no refresh needs to have room for it.
            Rotation::NotCached { observed_at } => {
                Box::pin(self.restore_session(token, &rules, observed_at)).await?
            }
            rotation => rotation,
        };
        match rotation {
            Rotation::Rotated(rotated) => {
                let RotatedSession {
                    counter,
                    at,
                    session,
                    ..
                } = rotated.as_ref();
                self.activity.note(SessionActivity {
                    sub: session.sub,
                    sid: session.sid,
                    counter: *counter,
                    at: moment(*at),
                    address: origin.address.to_string(),
                });
                Ok(*rotated)
            }
            Rotation::Reused => Err(Box::pin(self.revoke_reused_session(token, origin)).await?),
            Rotation::Revoked { unpersisted: true } => {
                Box::pin(self.revoke_reused_session(token, origin)).await?;
                Err(Error::InvalidRefreshToken)
            }
            Rotation::Revoked { unpersisted: false } => Err(Error::InvalidRefreshToken),
            Rotation::NotCached { .. } | Rotation::RestoreTimedOut => {
                Err(Error::unavailable("restoring a session timed out"))
            }
        }
    }

    /// The script has written the tombstone, marked as unrecorded. The log comes before the record
    /// here, so that a PostgreSQL that is down does not help the thief; whoever meets the mark
    /// later writes the record.
    async fn revoke_reused_session(
        &self,
        token: &RefreshToken,
        origin: &Origin,
    ) -> Result<Error, Error> {
        let RefreshToken { sub, sid, .. } = *token;
        let event = origin
            .event(
                EventKind::RefreshTokenReused,
                Actor::Unauthenticated,
                Some(sub),
            )
            .of_session(sid);
        // If this fails, so does publishing below, and the publisher makes up for it.
        let _ = self
            .append(vec![Revocation::Session { sid }.entry(self.clock.now())])
            .await;
        let ending = self
            .postgres
            .revoke_session(sub, sid, Reason::Reuse, &event)
            .await?;
        self.publish(&ending).await?;
        Ok(Error::RefreshTokenReused)
    }

    fn refresh_policy(&self) -> RefreshPolicy {
        let milliseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        RefreshPolicy {
            idle: milliseconds(self.config.session_idle_timeout),
            grace: milliseconds(self.config.refresh_reuse_interval),
            patience: milliseconds((self.config.database_timeout + self.config.redis_timeout) * 2),
        }
    }
}
