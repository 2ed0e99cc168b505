//! Adoption: a session that Redis does not know, or knows from another history of itself, is taken
//! in from the record. So a flush, a restart or a failover of Redis signs nobody out, and gives no
//! used token a second life.
//!
//! The rows of the user and of the session are held until the script has answered. Whatever would
//! end the session waits for that, and then writes its tombstone; or it was before, and is seen
//! here.

use latchkey_domain::{refresh_token::RefreshToken, revocation::Reason};

use crate::{
    app::{Gateway, clock::moment},
    error::Error,
    postgres::LockedSession,
    redis::{RefreshPolicy, Rotation, StoredSession},
};

impl Gateway {
    /// Adopts the session of this token and exchanges it. `observed_at`: when Redis said that the session
    /// is away.
    pub(crate) async fn restore_session(
        &self,
        token: &RefreshToken,
        rules: &RefreshPolicy,
        observed_at: u64,
    ) -> Result<Rotation, Error> {
        let Some(held) = self.postgres.lock_session(token.sub, token.sid).await? else {
            return self.cache_tombstone(token).await;
        };
        if !self.is_live(&held) {
            let _ = held.release().await;
            return self.cache_tombstone(token).await;
        }
        let rotation = self.restore_locked(token, rules, observed_at, &held).await;
        let outcome = match &rotation {
            Ok(Rotation::Rotated(_)) => "restored",
            Ok(_) => "rejected",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_session_restores_total", "outcome" => outcome).increment(1);
        // Where this fails the connection is closed, which lets the rows go as well.
        let _ = held.release().await;
        rotation
    }

    async fn restore_locked(
        &self,
        token: &RefreshToken,
        rules: &RefreshPolicy,
        observed_at: u64,
        held: &LockedSession,
    ) -> Result<Rotation, Error> {
        let session = &held.session;
        let at = u64::try_from(held.refreshed_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let identity = &held.user.account.identity;
        self.redis
            .restore_session(
                token,
                rules,
                observed_at,
                &StoredSession {
                    session,
                    identity,
                    counter: held.counter,
                    at,
                },
            )
            .await
    }

    /// Whether a session may be refreshed, as far as the record knows.
    fn is_live(&self, held: &LockedSession) -> bool {
        let (now, session) = (self.clock.now_ms(), &held.session);
        !held.ended
            && !held.user.disabled
            && session.generation == held.user.generation
            && held.refreshed_at + self.config.session_idle_timeout > moment(now)
            && session.ends_at * 1000 > now
    }

    /// Writes the tombstone of a session that is dead in the record: who goes on showing a token of
    /// it must not hold the user's row each time, where an administrator may be waiting for it.
    async fn cache_tombstone(&self, token: &RefreshToken) -> Result<Rotation, Error> {
        self.redis
            .revoke_sessions(token.sub, &[token.sid], Reason::Revoked)
            .await?;
        Ok(Rotation::Revoked { unpersisted: false })
    }
}
