//! Restores a session from PostgreSQL if Redis has lost it, its replication history changed,
//! or the counter in Redis is older than the token. A
//! flush, a restart, or a failover of Redis therefore signs no user out, and doesn't make a rotated
//! refresh token valid again.
//!
//! The rows of the user and the session stay locked until the script has responded. A concurrent
//! revocation either waits for the lock and then writes its tombstone, or is committed before and
//! therefore visible here.

use latchkey_domain::{refresh_token::RefreshToken, revocation::RevocationReason};

use crate::{
    app::{clock::timestamp_from_ms, sessions::Sessions},
    error::Error,
    postgres::LockedSession,
    redis::{RefreshPolicy, Rotation, StoredSession},
};

impl Sessions {
    /// Restores the session of a refresh token, and rotates the token. `observed_at` is the time of
    /// the Redis server at which it lacked the session, in milliseconds.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn restore_session(
        &self,
        token: &RefreshToken,
        policy: &RefreshPolicy,
        observed_at: u64,
    ) -> Result<Rotation, Error> {
        let Some(locked) = self
            .postgres
            .lock_session(token.user_id, token.session_id)
            .await?
        else {
            return self.cache_tombstone(token).await;
        };
        if !self.is_live(&locked) {
            let _ = locked.release().await;
            return self.cache_tombstone(token).await;
        }
        let rotation = self
            .restore_locked(token, policy, observed_at, &locked)
            .await;
        let outcome = match &rotation {
            Ok(Rotation::Rotated(_)) => "restored",
            Ok(_) => "rejected",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_session_restores_total", "outcome" => outcome).increment(1);
        // After a failure the connection is closed, which also releases the locks.
        let _ = locked.release().await;
        rotation
    }

    async fn restore_locked(
        &self,
        token: &RefreshToken,
        policy: &RefreshPolicy,
        observed_at: u64,
        locked: &LockedSession,
    ) -> Result<Rotation, Error> {
        let session = &locked.session;
        let rotated_at =
            u64::try_from(locked.refreshed_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let identity = &locked.user.account.identity;
        self.redis
            .restore_session(
                token,
                policy,
                observed_at,
                &StoredSession {
                    session,
                    identity,
                    counter: locked.counter,
                    at: rotated_at,
                },
            )
            .await
    }

    /// Whether a session is active according to PostgreSQL.
    fn is_live(&self, locked: &LockedSession) -> bool {
        let (now, session) = (self.clock.now_ms(), &locked.session);
        !locked.is_revoked
            && !locked.user.disabled
            && session.generation == locked.user.generation
            && locked.refreshed_at + self.settings.session_idle_timeout > timestamp_from_ms(now)
            && session.expires_at * 1000 > now
    }

    /// Caches the tombstone of a session that is expired or revoked in PostgreSQL. Otherwise, each
    /// repeated request with its token would lock the user's row, and delay an administrator who
    /// changes the user.
    async fn cache_tombstone(&self, token: &RefreshToken) -> Result<Rotation, Error> {
        self.redis
            .revoke_sessions(
                token.user_id,
                &[token.session_id],
                RevocationReason::Revoked,
            )
            .await?;
        Ok(Rotation::Revoked { unpersisted: false })
    }
}
