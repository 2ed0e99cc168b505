//! Rotates a refresh token: exchanges it for a new token pair. Reuse of a rotated token revokes the
//! session (RFC 9700 section 4.14.2).

use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, EventKind},
    refresh_token::RefreshToken,
    revocation::{Revocation, RevocationReason},
    scope::Scopes,
};

use crate::{
    app::{
        clock::timestamp_from_ms,
        origin::Origin,
        sessions::{Sessions, issue::TokenPair},
    },
    error::Error,
    postgres::SessionActivity,
    redis::{RotatedSession, Rotation},
};

impl Sessions {
    /// Rotates the current refresh token of a session. Within the reuse interval, the previous
    /// token returns the same refresh token again, so that a client can retry after a lost
    /// response.
    ///
    /// An older token revokes the session, because a copy of the token might be stolen. The
    /// requested scopes must be within those of the session (RFC 6749 section 6). By default, the
    /// access token has all scopes of the session.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `insufficient_scope`, `too_many_requests`,
    /// `unavailable`.
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        requested: Option<Scopes>,
        origin: &Origin,
    ) -> Result<TokenPair, Error> {
        let outcome = self.try_refresh(token, requested, origin).await;
        let label = match &outcome {
            Ok(_) => "success",
            Err(Error::RefreshTokenReused) => "reused",
            Err(Error::InvalidRefreshToken) => "failure",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_refreshes_total", "outcome" => label).increment(1);
        self.rate_limits
            .rate_limit_failed_refresh(outcome, origin)
            .await
    }

    async fn try_refresh(
        self: &Arc<Self>,
        token: &str,
        requested: Option<Scopes>,
        origin: &Origin,
    ) -> Result<TokenPair, Error> {
        self.keys.require_loaded()?;
        let token = self
            .refresh_key
            .verify(token)
            .ok_or(Error::InvalidRefreshToken)?;
        if self.activity.is_full() {
            return Err(Error::unavailable(
                "too many refreshes wait to be written to PostgreSQL",
            ));
        }
        // Before the rotation, so that an invalid scope doesn't consume the token.
        if let Some(requested) = requested {
            Box::pin(self.check_scopes(&token, requested)).await?;
        }
        let now = self.clock.now();
        let (sessions, origin) = (self.clone(), origin.clone());
        // If the client disconnects, a completed rotation must still be written to PostgreSQL.
        let rotated = self
            .tasks
            .run_to_completion(async move { sessions.rotate(&token, &origin).await })
            .await?;
        let mut session = rotated.session;
        if let Some(requested) = requested {
            session.scope = requested
                .and(Scopes::parse_granted(&session.scope))
                .to_string();
        }
        self.issue_pair(&session, &rotated.identity, rotated.counter, now)
            .await
    }

    async fn check_scopes(&self, token: &RefreshToken, requested: Scopes) -> Result<(), Error> {
        let cached = self
            .redis
            .inspect_session(token.user_id, token.session_id)
            .await?
            .filter(|session| session.history_matches);
        let scope = match cached.and_then(|session| session.scope) {
            Some(scope) => Some(scope),
            None => {
                self.postgres
                    .session_scope(token.user_id, token.session_id)
                    .await?
            }
        };
        let scope = scope.ok_or(Error::InvalidRefreshToken)?;
        let granted = Scopes::parse_granted(&scope);
        if requested.is_within(granted) {
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
        let outages = self.revocations.recent_outages();
        let policy = self.settings.refresh_policy(&outages);
        let rotation = match self.redis.rotate(token, &policy).await? {
            // Boxed, like reuse below: cold path, keeps the caller's future small.
            Rotation::NotCached { observed_at } => {
                Box::pin(self.restore_session(token, &policy, observed_at)).await?
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
                self.activity.add(SessionActivity {
                    user_id: session.user_id,
                    session_id: session.session_id,
                    counter: *counter,
                    at: timestamp_from_ms(*at),
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

    /// Revokes a session because of reuse, and returns the error of the request. The script has
    /// written the tombstone and flagged it as unpersisted.
    ///
    /// The log entry precedes the write to PostgreSQL, so that an outage of PostgreSQL doesn't
    /// delay the enforcement. If the write fails, the next refresh that finds the flag repeats it.
    async fn revoke_reused_session(
        &self,
        token: &RefreshToken,
        origin: &Origin,
    ) -> Result<Error, Error> {
        let RefreshToken {
            user_id,
            session_id,
            ..
        } = *token;
        let event = origin
            .event(
                EventKind::RefreshTokenReused,
                Actor::Unauthenticated,
                Some(user_id),
            )
            .of_session(session_id);
        // After a failure, `publish` below appends the entry, or the republish worker does.
        let _ = self
            .revocations
            .append(vec![
                Revocation::Session { session_id }.entry(self.clock.now()),
            ])
            .await;
        let batch = self
            .postgres
            .revoke_session(
                user_id,
                session_id,
                RevocationReason::RefreshTokenReused,
                &event,
            )
            .await?;
        self.revocations.publish(&batch).await?;
        Ok(Error::RefreshTokenReused)
    }
}
