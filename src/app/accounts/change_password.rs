//! Changing one's password, with the current one.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{AuditEvent, EventKind},
    password::{Password, PasswordMatch},
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::Error,
    postgres::Credentials,
};

impl Gateway {
    /// Changes the password. Every other session ends; the caller's tokens stay good.
    ///
    /// # Errors
    /// `incorrect_password`, `weak_password`, `token_revoked`, `too_many_requests`, `busy`,
    /// `unavailable`.
    pub async fn change_password(
        self: &Arc<Self>,
        caller: &Claims,
        current: Password,
        new: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        // Whoever has found a token must not guess the password with it.
        let attempt = self.sign_in_attempt(&caller.sub.to_string(), origin);
        self.rate_limited(
            attempt,
            &origin.request_limits,
            self.try_change_password(caller, current, new, origin),
        )
        .await
    }

    async fn try_change_password(
        self: &Arc<Self>,
        caller: &Claims,
        current: Password,
        new: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        new.check(self.config.password_min)
            .map_err(Error::WeakPassword)?;
        let known = self
            .verify_current_password(caller, current, origin)
            .await?;
        let hash = self.hasher.hash(new.into()).await?;
        let (gateway, sid) = (
            self.clone(),
            caller.sid.ok_or_else(Error::session_required)?,
        );
        let event = origin.self_event(EventKind::PasswordChanged, caller);
        self.run_to_completion(
            async move { gateway.store_password(&known, &hash, sid, &event).await },
        )
        .await
    }

    /// The caller's row, if this is the caller's password. An account that is gone has taken its
    /// tokens along.
    pub(crate) async fn verify_current_password(
        &self,
        caller: &Claims,
        password: Password,
        origin: &Origin,
    ) -> Result<Credentials, Error> {
        let known = self
            .postgres
            .find_credentials(caller.sub)
            .await?
            .ok_or(Error::TokenRevoked)?;
        match self
            .hasher
            .verify(&Arc::new(password), Some(&known.password_hash))
            .await?
        {
            PasswordMatch::Match | PasswordMatch::MatchNeedsRehash => Ok(known),
            PasswordMatch::NoMatch => {
                self.record_denied(
                    origin.self_event(EventKind::PasswordCheckFailed, caller),
                    origin,
                );
                Err(Error::IncorrectPassword)
            }
        }
    }

    async fn store_password(
        &self,
        known: &Credentials,
        hash: &str,
        keep: Uuid,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let changed = self
            .postgres
            .change_password(known, hash, keep, Uuid::now_v7(), event)
            .await?;
        let ending = changed.ok_or(Error::IncorrectPassword)?;
        self.mail_ready.notify_one();
        self.publish(&ending).await
    }
}
