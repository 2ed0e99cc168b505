//! Use case: change the caller's password. The current password is required.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{AuditEvent, EventKind},
    password::{Password, PasswordMatch},
};
use uuid::Uuid;

use crate::{
    app::{accounts::Accounts, origin::Origin},
    error::Error,
    postgres::Credentials,
};

impl Accounts {
    /// Changes the password, and revokes every other session of the user.
    ///
    /// The tokens of the caller's session stay valid.
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
        // The limit prevents an attacker with a stolen token from guessing the password.
        let attempt = self
            .rate_limits
            .sign_in_attempt(&caller.sub.to_string(), origin);
        self.rate_limits
            .run_rate_limited(
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
        new.check(self.settings.password_min)
            .map_err(Error::WeakPassword)?;
        let credentials = self
            .verify_current_password(caller, current, origin)
            .await?;
        let hash = self.hasher.hash(new.into()).await?;
        let (accounts, sid) = (
            self.clone(),
            caller.sid.ok_or_else(Error::session_required)?,
        );
        let event = origin.self_event(EventKind::PasswordChanged, caller);
        self.tasks
            .run_to_completion(async move {
                accounts
                    .store_password(&credentials, &hash, sid, &event)
                    .await
            })
            .await
    }

    /// Verifies the caller's password, and returns the stored credentials.
    ///
    /// # Errors
    /// `incorrect_password`; `token_revoked` if the user is deleted; `busy`, `unavailable`.
    pub(crate) async fn verify_current_password(
        &self,
        caller: &Claims,
        password: Password,
        origin: &Origin,
    ) -> Result<Credentials, Error> {
        let credentials = self
            .postgres
            .find_credentials(caller.sub)
            .await?
            .ok_or(Error::TokenRevoked)?;
        match self
            .hasher
            .verify(&Arc::new(password), Some(&credentials.password_hash))
            .await?
        {
            PasswordMatch::Match | PasswordMatch::MatchNeedsRehash => Ok(credentials),
            PasswordMatch::NoMatch => {
                self.audit.record_denied(
                    origin.self_event(EventKind::PasswordCheckFailed, caller),
                    origin,
                );
                Err(Error::IncorrectPassword)
            }
        }
    }

    async fn store_password(
        &self,
        credentials: &Credentials,
        hash: &str,
        current_sid: Uuid,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let changed = self
            .postgres
            .change_password(credentials, hash, current_sid, Uuid::now_v7(), event)
            .await?;
        let batch = changed.ok_or(Error::IncorrectPassword)?;
        self.mail.notify();
        self.revocations.publish(&batch).await
    }
}
