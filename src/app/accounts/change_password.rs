//! Use case: change the caller's password. The current password is required.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{AuditEvent, EventKind},
    password::{Password, PasswordMatch, WeakPassword},
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
    /// `forbidden` without a session; `incorrect_password`, `weak_password`, `token_revoked`,
    /// `too_many_requests`, `busy`, `unavailable`.
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
        // Before the current password, because this check costs nothing.
        self.settings
            .password_policy
            .check(&new, [])
            .map_err(Error::WeakPassword)?;
        let current = Arc::new(current);
        let session_id = caller.sid.ok_or_else(Error::session_required)?;
        let credentials = self
            .verify_current_password(caller, &current, origin)
            .await?;
        let account = &credentials.user.account;
        self.settings
            .password_policy
            .check(&new, account.identity.identifiers())
            .map_err(Error::WeakPassword)?;
        if account.password_change_required && new.is_equal_to(&current) {
            return Err(Error::WeakPassword(WeakPassword::Unchanged));
        }
        let hash: Arc<str> = self.hasher.hash(new.into()).await?.into();
        let event = origin.self_event(EventKind::PasswordChanged, caller);
        if self
            .store_password(credentials, &hash, session_id, &event)
            .await?
        {
            return Ok(());
        }
        // The stored hash has changed: either the password was changed, or a sign-in upgraded the
        // hash. Only one more attempt, because parallel changes could make each other repeat.
        let credentials = self
            .verify_current_password(caller, &current, origin)
            .await?;
        if self
            .store_password(credentials, &hash, session_id, &event)
            .await?
        {
            Ok(())
        } else {
            Err(Error::Busy)
        }
    }

    /// Verifies the caller's password, and returns the stored credentials.
    ///
    /// # Errors
    /// `forbidden` without a session; `incorrect_password`; `token_revoked` if the user is deleted
    /// or the session is revoked; `busy`, `unavailable`.
    pub(crate) async fn verify_current_password(
        &self,
        caller: &Claims,
        password: &Arc<Password>,
        origin: &Origin,
    ) -> Result<Credentials, Error> {
        let session_id = caller.sid.ok_or_else(Error::session_required)?;
        let credentials = self
            .postgres
            .find_credentials(caller.sub)
            .await?
            .ok_or(Error::TokenRevoked)?;
        let password_match = self
            .hasher
            .verify(password, Some(&credentials.password_hash))
            .await?;
        // A concurrent change of the password revokes the other sessions. Their password is not
        // wrong, and a revoked session must not find out whether it is correct.
        self.require_unrevoked_session(caller.sub, session_id)
            .await?;
        match password_match {
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

    /// Stores a new password. Returns `false` if the stored hash isn't that of `credentials`.
    async fn store_password(
        self: &Arc<Self>,
        credentials: Credentials,
        hash: &Arc<str>,
        current_session_id: Uuid,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let (accounts, hash, event) = (self.clone(), hash.clone(), event.clone());
        self.tasks
            .run_to_completion(async move {
                let changed = accounts
                    .postgres
                    .change_password(
                        &credentials,
                        &hash,
                        current_session_id,
                        Uuid::now_v7(),
                        &event,
                    )
                    .await?;
                let Some(batch) = changed else {
                    return Ok(false);
                };
                accounts.mail.notify();
                accounts.revocations.publish(&batch).await?;
                Ok(true)
            })
            .await
    }
}
