//! Use case: change or verify the caller's email address. The caller requests a code by email, and
//! confirms the address with it. Confirming the current address verifies it.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, EmailAddress},
    audit::{AuditEvent, EventKind},
    one_time_code::{CodePurpose, OneTimeCode},
    password::Password,
    revocation::RevocationReason,
    text::ParsedText,
};
use uuid::Uuid;

use crate::{
    app::{accounts::Accounts, origin::Origin},
    error::Error,
    postgres::{CodeState, StoredUser},
    redis::Reservation,
};

const EMAIL_CODE: CodePurpose = CodePurpose::EmailConfirmation;

impl Accounts {
    /// Enqueues an email with a code to a new address, or to the current one.
    ///
    /// The response reveals neither whether another user has the address, nor whether the email
    /// quota of the address is exhausted.
    ///
    /// # Errors
    /// `forbidden` without a session; `incorrect_password`, `token_revoked`, `email_disabled`,
    /// `too_many_requests`, `busy`, `unavailable`.
    pub async fn request_email_change(
        &self,
        caller: &Claims,
        email: &EmailAddress,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        // The limits prevent an attacker with a stolen token from guessing the password, and a
        // user from flooding the mailboxes of others.
        let sign_in = self
            .rate_limits
            .sign_in_attempt(&caller.sub.to_string(), origin);
        let task = self.rate_limits.run_rate_limited(
            sign_in,
            &origin.request_limits,
            self.try_request_email_change(caller, email, password, origin),
        );
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.reset_request_attempt(origin),
                &origin.request_limits,
                task,
            )
            .await
    }

    async fn try_request_email_change(
        &self,
        caller: &Claims,
        email: &EmailAddress,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        let user = self
            .verify_current_password(caller, &Arc::new(password), origin)
            .await?
            .user;
        if !self.mail.is_enabled() {
            return Err(Error::EmailDisabled(None));
        }
        let is_current = user
            .account
            .identity
            .email
            .is_some_and(|current| current.eq_ignore_ascii_case(email.as_str()));
        let kind = if is_current {
            EventKind::CodeRequested
        } else {
            EventKind::EmailChangeRequested
        };
        let event = origin
            .self_event(kind, caller)
            .with_reason(EMAIL_CODE.as_str());
        self.rate_limits
            .run_within_email_quota(
                EMAIL_CODE.as_str(),
                email.as_str(),
                self.enqueue_verification_email(caller.sub, email, &event),
            )
            .await
    }

    /// Enqueues an email with a code to the current address of the caller. It requires no password,
    /// because only the owner of the mailbox gets the code, and the address doesn't change.
    ///
    /// # Errors
    /// `forbidden` without a session; `invalid_request` without an email address; `token_revoked`,
    /// `email_disabled`, `too_many_requests`, `unavailable`.
    pub async fn request_email_verification(
        &self,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<(), Error> {
        caller.sid.ok_or_else(Error::session_required)?;
        if !self.mail.is_enabled() {
            return Err(Error::EmailDisabled(None));
        }
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.reset_request_attempt(origin),
                &origin.request_limits,
                self.try_request_email_verification(caller, origin),
            )
            .await
    }

    async fn try_request_email_verification(
        &self,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<(), Error> {
        let identity = self.get_account(caller).await?.identity;
        let email = identity.email.as_deref().map(EmailAddress::parse);
        let Some(Ok(email)) = email else {
            return Err(Error::malformed("The user has no email address."));
        };
        let event = origin
            .self_event(EventKind::CodeRequested, caller)
            .with_reason(EMAIL_CODE.as_str());
        self.rate_limits
            .run_within_email_quota(
                EMAIL_CODE.as_str(),
                email.as_str(),
                self.enqueue_verification_email(caller.sub, &email, &event),
            )
            .await
    }

    async fn enqueue_verification_email(
        &self,
        user_id: Uuid,
        email: &EmailAddress,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.postgres
            .enqueue_verification(Uuid::now_v7(), user_id, email.as_str(), event)
            .await?;
        self.mail.notify();
        Ok(())
    }

    /// Makes the recipient of the code the caller's verified email address.
    ///
    /// If the address changes, every other session of the user is revoked, and the previous address
    /// receives a notification.
    ///
    /// # Errors
    /// `forbidden` without a session; `invalid_code`, `email_taken`, `too_many_requests`,
    /// `token_revoked`, `busy`, `unavailable`.
    pub async fn confirm_email(
        self: &Arc<Self>,
        caller: &Claims,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let attempt = self
            .rate_limits
            .code_attempt(&caller.sub.to_string(), origin);
        self.rate_limits
            .run_rate_limited(
                attempt,
                &origin.request_limits,
                self.try_confirm_email(caller, code, origin),
            )
            .await
    }

    async fn try_confirm_email(
        self: &Arc<Self>,
        caller: &Claims,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let (accounts, user_id, session_id) = (
            self.clone(),
            caller.sub,
            caller.sid.ok_or_else(Error::session_required)?,
        );
        let reservation = self.reserve_code(EMAIL_CODE, user_id, code, origin).await?;
        self.audit_wrong_code(&reservation, EMAIL_CODE, Some(user_id), origin);
        let event = origin.self_event(EventKind::EmailChanged, caller);
        match reservation {
            Reservation::Reserved(email_id) => {
                self.tasks
                    .run_to_completion(async move {
                        accounts
                            .use_email_code(email_id, user_id, session_id, &event)
                            .await
                    })
                    .await
            }
            Reservation::Busy(email_id) => {
                self.require_unrevoked_session(user_id, session_id).await?;
                self.finish_confirmed_change(email_id, user_id)
                    .await?
                    .ok_or(Error::Busy)
            }
            Reservation::Exhausted(retry_after) => Err(Error::TooManyRequests { retry_after }),
            Reservation::Incorrect => {
                // Another session might have used the code and revoked this one.
                self.require_unrevoked_session(user_id, session_id).await?;
                Err(Error::InvalidCode)
            }
        }
    }

    async fn use_email_code(
        &self,
        email_id: Uuid,
        user_id: Uuid,
        session_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Account, Error> {
        match self
            .postgres
            .confirm_email(email_id, user_id, session_id, Uuid::now_v7(), event)
            .await
        {
            Ok(Some(confirmed)) => {
                self.mail.notify();
                self.revocations.publish(&confirmed.batch).await?;
                if let Some(StoredUser { account, .. }) = &confirmed.previous_holder {
                    self.revocations
                        .publish_identity(account.id, &account.identity)
                        .await?;
                }
                self.publish_new_email(email_id, confirmed.user).await
            }
            Ok(None) => {
                let finished = self.finish_confirmed_change(email_id, user_id).await?;
                if finished.is_none() {
                    // PostgreSQL never accepts this code. Without the deletion, its reservation in
                    // Redis would cause `busy` instead of `invalid_code`.
                    let _ = self.redis.use_code(EMAIL_CODE, user_id, email_id).await;
                }
                finished.ok_or(Error::InvalidCode)
            }
            Err(error) => {
                // Usually nothing was committed, so the user can retry the code immediately. If the
                // commit succeeded, the retry finds a used code.
                let _ = self.redis.release_code(EMAIL_CODE, user_id, email_id).await;
                Err(error)
            }
        }
    }

    /// Completes a change whose code is already used, and returns the user. Publishes the change
    /// again, because an earlier attempt might have failed after the commit.
    ///
    /// Returns `None` if the code is unused or invalidated, or if the user's address has changed
    /// since.
    async fn finish_confirmed_change(
        &self,
        email_id: Uuid,
        user_id: Uuid,
    ) -> Result<Option<Account>, Error> {
        let CodeState::Used {
            address: Some(address),
        } = self.postgres.find_code(email_id).await?
        else {
            return Ok(None);
        };
        let has_address = |user: &StoredUser| {
            let identity = &user.account.identity;
            identity.email_verified && identity.email.as_deref() == Some(address.as_str())
        };
        let Some(user) = self.postgres.find_user(user_id).await?.filter(has_address) else {
            return Ok(None);
        };
        self.revocations
            .republish(
                &self
                    .postgres
                    .recently_revoked_sessions(user_id, RevocationReason::EmailChange)
                    .await?,
            )
            .await?;
        self.publish_new_email(email_id, user).await.map(Some)
    }

    async fn publish_new_email(&self, email_id: Uuid, user: StoredUser) -> Result<Account, Error> {
        self.revocations
            .publish_identity(user.account.id, &user.account.identity)
            .await?;
        // PostgreSQL has consumed the code, so its deletion in Redis is optional.
        let _ = self
            .redis
            .use_code(EMAIL_CODE, user.account.id, email_id)
            .await;
        Ok(user.account)
    }
}
