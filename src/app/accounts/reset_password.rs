//! Use case: reset a forgotten password. The user requests a code by email, and sets a new password
//! with it. A user without a password sets the first one with the code of the invitation.

use std::sync::Arc;

use latchkey_domain::{
    account::EmailAddress,
    audit::{Actor, AuditEvent, EventKind},
    one_time_code::{CodePurpose, OneTimeCode},
    password::{Password, PasswordMatch, WeakPassword},
    revocation::{RevocationBatch, RevocationReason},
};
use uuid::Uuid;

use crate::{
    app::{
        accounts::{Accounts, invitations::PasswordCode},
        origin::Origin,
    },
    error::Error,
    postgres::{CodeState, EmailTemplate, StoredUser},
    redis::Reservation,
};

/// The parameters of a password reset.
pub struct PasswordReset {
    pub email: EmailAddress,
    pub code: OneTimeCode,
    pub new_password: Password,
}

impl Accounts {
    /// Enqueues an email with a code if a user has this email address.
    ///
    /// The response is the same if the address is unknown or its email quota is exhausted, so that
    /// it doesn't reveal users. If the quota is exhausted, the previous code stays valid.
    ///
    /// # Errors
    /// `email_disabled`, `too_many_requests`, `unavailable`.
    pub async fn request_password_reset(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Result<(), Error> {
        if !self.mail.is_enabled() {
            return Err(Error::EmailDisabled(Some(
                "Contact the operator for a reset code.",
            )));
        }
        let task = self.rate_limits.run_within_email_quota(
            CodePurpose::PasswordReset.as_str(),
            email.as_str(),
            self.enqueue_reset_code(email, origin),
        );
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.reset_request_attempt(origin),
                &origin.request_limits,
                task,
            )
            .await
    }

    async fn enqueue_reset_code(&self, email: &EmailAddress, origin: &Origin) -> Result<(), Error> {
        let event = origin
            .event(EventKind::CodeRequested, Actor::Unauthenticated, None)
            .with_reason(EmailTemplate::PasswordReset.into_str());
        let decoy_user_id = self.code_keys.decoy_user_id(email.as_str());
        self.postgres
            .request_code(
                Uuid::now_v7(),
                EmailTemplate::PasswordReset,
                email.as_str(),
                decoy_user_id,
                event,
            )
            .await?;
        self.mail.notify();
        Ok(())
    }

    /// Sets a new password with a code, and revokes every session of the user.
    ///
    /// If the code was sent by email, the email address is verified.
    ///
    /// # Errors
    /// `weak_password`, `invalid_code`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn reset_password(
        self: &Arc<Self>,
        request: PasswordReset,
        origin: &Origin,
    ) -> Result<(), Error> {
        let attempt = self
            .rate_limits
            .code_attempt(request.email.as_str(), origin);
        self.rate_limits
            .run_rate_limited(
                attempt,
                &origin.request_limits,
                self.try_reset_password(request, origin),
            )
            .await
    }

    async fn try_reset_password(
        self: &Arc<Self>,
        request: PasswordReset,
        origin: &Origin,
    ) -> Result<(), Error> {
        self.settings
            .password_policy
            .check(&request.new_password, [request.email.as_str()])
            .map_err(Error::WeakPassword)?;
        // The policy and the hash come first, so that a rejected password doesn't consume the code.
        let password = Arc::new(request.new_password);
        let hash = self.hasher.hash(password.clone()).await?;
        let user = self
            .postgres
            .find_user_by_email(request.email.as_str())
            .await?;
        let user_or_decoy_id = user.as_ref().map_or_else(
            || self.code_keys.decoy_user_id(request.email.as_str()),
            |user| user.account.id,
        );
        let (purpose, reservation) = self
            .reserve_password_code(user_or_decoy_id, &request.code, origin)
            .await?;
        let user_id = user.as_ref().map(|user| user.account.id);
        self.audit_wrong_code(&reservation, purpose, user_id, origin);
        match (reservation, user) {
            (Reservation::Reserved(email_id), Some(user)) => {
                let code = PasswordCode { purpose, email_id };
                self.check_reset_password(&password, &user, code).await?;
                let (accounts, id) = (self.clone(), user.account.id);
                let event = origin.event(EventKind::PasswordReset, Actor::User(id), Some(id));
                let event = event.with_reason(RevocationReason::PasswordReset.as_str());
                self.tasks
                    .run_to_completion(async move {
                        accounts
                            .use_reset_code(code, &user, &hash, &password, &event)
                            .await
                    })
                    .await
            }
            (Reservation::Busy(email_id), Some(user)) => {
                let code = PasswordCode { purpose, email_id };
                self.finish_used_reset(code, &user, &password, Error::Busy)
                    .await
            }
            (Reservation::Exhausted(retry_after), _) => Err(Error::TooManyRequests { retry_after }),
            (Reservation::Incorrect | Reservation::Reserved(_) | Reservation::Busy(_), _) => {
                Err(Error::InvalidCode)
            }
        }
    }

    /// Checks the new password against the names of the user, which only the holder of a valid code
    /// may find out. A rejected password doesn't consume the code.
    async fn check_reset_password(
        &self,
        password: &Arc<Password>,
        user: &StoredUser,
        code: PasswordCode,
    ) -> Result<(), Error> {
        let (policy, account) = (&self.settings.password_policy, &user.account);
        let reason = match policy.check(password, account.identity.identifiers()) {
            Err(reason) => reason,
            Ok(()) if self.keeps_set_password(password, user).await? => WeakPassword::Unchanged,
            Ok(()) => return Ok(()),
        };
        self.redis
            .release_code(code.purpose, account.id, code.email_id)
            .await?;
        Err(Error::WeakPassword(reason))
    }

    /// Returns whether the password is the one that an administrator or the operator has set.
    async fn keeps_set_password(
        &self,
        password: &Arc<Password>,
        user: &StoredUser,
    ) -> Result<bool, Error> {
        if !user.account.password_change_required {
            return Ok(false);
        }
        let credentials = self.postgres.find_credentials(user.account.id).await?;
        let hash = credentials.map(|credentials| credentials.password_hash);
        let password_match = self.hasher.verify(password, hash.as_deref()).await?;
        Ok(password_match != PasswordMatch::NoMatch)
    }

    async fn use_reset_code(
        &self,
        code: PasswordCode,
        user: &StoredUser,
        hash: &str,
        password: &Arc<Password>,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let outcome = self
            .postgres
            .reset_password(code.email_id, user.account.id, hash, Uuid::now_v7(), event)
            .await;
        let (updated, batch) = match outcome {
            Ok(Some(reset)) => reset,
            Ok(None) => {
                return self
                    .finish_used_reset(code, user, password, Error::InvalidCode)
                    .await;
            }
            Err(error) => {
                // Usually nothing was committed, so the user can retry the code immediately. If the
                // commit succeeded, the retry finds a used code. If the release fails as well, the
                // reservation expires.
                let _ = self
                    .redis
                    .release_code(code.purpose, user.account.id, code.email_id)
                    .await;
                return Err(error);
            }
        };
        self.mail.notify();
        self.publish_reset(code, &updated, &batch).await
    }

    /// Completes a reset whose code is already used. If the code set this password, publishes the
    /// reset again, because an earlier attempt might have failed after the commit.
    ///
    /// With any other password, the code is invalid and the attempt counts. Otherwise an attacker
    /// could guess the password with a used code.
    async fn finish_used_reset(
        &self,
        code: PasswordCode,
        user: &StoredUser,
        password: &Arc<Password>,
        error_if_open: Error,
    ) -> Result<(), Error> {
        match self.postgres.find_code(code.email_id).await? {
            CodeState::Open => return Err(error_if_open),
            CodeState::Void => return Err(Error::InvalidCode),
            CodeState::Used { .. } => {}
        }
        let credentials = self
            .postgres
            .find_credentials(user.account.id)
            .await?
            .ok_or(Error::InvalidCode)?;
        let user = credentials.user;
        match self
            .hasher
            .verify(password, Some(&credentials.password_hash))
            .await?
        {
            PasswordMatch::NoMatch => Err(Error::InvalidCode),
            PasswordMatch::Match | PasswordMatch::MatchNeedsRehash => {
                let batch = RevocationBatch::of_user(
                    user.account.id,
                    user.generation,
                    RevocationReason::PasswordReset,
                );
                self.publish_reset(code, &user, &batch).await
            }
        }
    }

    async fn publish_reset(
        &self,
        code: PasswordCode,
        user: &StoredUser,
        batch: &RevocationBatch,
    ) -> Result<(), Error> {
        let account = &user.account;
        self.revocations.publish(batch).await?;
        self.revocations
            .publish_identity(account.id, &account.identity)
            .await?;
        // PostgreSQL has consumed the code, so its deletion in Redis is optional.
        let _ = self
            .redis
            .use_code(code.purpose, account.id, code.email_id)
            .await;
        Ok(())
    }
}
