//! An address of one's own: asking for a code there, and confirming it. Confirming the address that
//! one has verifies it.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, EmailAddress},
    audit::{AuditEvent, EventKind},
    one_time_code::{CodePurpose, OneTimeCode},
    password::Password,
    revocation::Reason,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::Error,
    postgres::{CodeState, StoredUser},
    redis::Reservation,
};

const EMAIL_CODE: CodePurpose = CodePurpose::EmailConfirmation;

impl Gateway {
    /// Promises a code to an address, which may be the caller's own. Whether somebody has it is not
    /// told here, nor that it had enough mails.
    ///
    /// # Errors
    /// `incorrect_password`, `token_revoked`, `email_disabled`, `too_many_requests`, `busy`,
    /// `unavailable`.
    pub async fn request_email_change(
        &self,
        caller: &Claims,
        email: &EmailAddress,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        // Whoever has found a token must not guess the password with it, and nobody fills the
        // mailboxes of others.
        let sign_in = self.sign_in_attempt(&caller.sub.to_string(), origin);
        let task = self.rate_limited(
            sign_in,
            &origin.request_limits,
            self.try_request_email(caller, email, password, origin),
        );
        self.rate_limited(
            self.reset_request_attempt(origin),
            &origin.request_limits,
            task,
        )
        .await
    }

    async fn try_request_email(
        &self,
        caller: &Claims,
        email: &EmailAddress,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        let user = self
            .verify_current_password(caller, password, origin)
            .await?
            .user;
        if !self.mailer.is_on() {
            return Err(Error::EmailDisabled(None));
        }
        let self_event = user
            .account
            .identity
            .email
            .is_some_and(|self_event| self_event.eq_ignore_ascii_case(email.as_str()));
        let kind = if self_event {
            EventKind::CodeRequested
        } else {
            EventKind::EmailChangeRequested
        };
        let event = origin
            .self_event(kind, caller)
            .with_reason(EMAIL_CODE.as_str());
        self.within_email_quota(
            EMAIL_CODE,
            email.as_str(),
            self.enqueue_verification_email(caller.sub, email, &event),
        )
        .await
    }

    async fn enqueue_verification_email(
        &self,
        sub: Uuid,
        email: &EmailAddress,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.postgres
            .enqueue_verification(Uuid::now_v7(), sub, email.as_str(), event)
            .await?;
        self.mail_ready.notify_one();
        Ok(())
    }

    /// Makes the address of a code the caller's. Where it was another one before, every other
    /// session ends, and that address is told.
    ///
    /// # Errors
    /// `invalid_code`, `email_taken`, `too_many_requests`, `token_revoked`, `busy`, `unavailable`.
    pub async fn confirm_email(
        self: &Arc<Self>,
        caller: &Claims,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let attempt = self.code_attempt(&caller.sub.to_string(), origin);
        self.rate_limited(
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
        let (gateway, sub, sid) = (
            self.clone(),
            caller.sub,
            caller.sid.ok_or_else(Error::session_required)?,
        );
        let reserved = self.reserve_code(EMAIL_CODE, sub, code, origin).await?;
        self.record_wrong_code(&reserved, EMAIL_CODE, Some(sub), origin);
        let event = origin.self_event(EventKind::EmailChanged, caller);
        match reserved {
            Reservation::Reserved(row) => {
                self.run_to_completion(async move {
                    gateway.use_email_code(row, sub, sid, &event).await
                })
                .await
            }
            Reservation::Busy(row) => self
                .finish_confirmed_change(row, sub)
                .await?
                .ok_or(Error::Busy),
            Reservation::Exhausted(retry_after) => Err(Error::TooManyRequests { retry_after }),
            Reservation::Wrong => Err(Error::InvalidCode),
        }
    }

    async fn use_email_code(
        &self,
        row: Uuid,
        sub: Uuid,
        sid: Uuid,
        event: &AuditEvent,
    ) -> Result<Account, Error> {
        match self
            .postgres
            .confirm_email(row, sub, sid, Uuid::now_v7(), event)
            .await
        {
            Ok(Some(confirmed)) => {
                self.mail_ready.notify_one();
                self.publish(&confirmed.ending).await?;
                self.publish_new_email(row, confirmed.user).await
            }
            Ok(None) => self
                .finish_confirmed_change(row, sub)
                .await?
                .ok_or(Error::InvalidCode),
            Err(error) => {
                // Mostly nothing was decided, and the code may be tried again at once; otherwise
                // the repeat finds out.
                let _ = self.redis.release_code(EMAIL_CODE, sub, row).await;
                Err(error)
            }
        }
    }

    /// The code was used before: what came of it stands, and only its publication may be missing.
    /// It is made up for.
    async fn finish_confirmed_change(
        &self,
        row: Uuid,
        sub: Uuid,
    ) -> Result<Option<Account>, Error> {
        let CodeState::Used {
            address: Some(address),
        } = self.postgres.find_code(row).await?
        else {
            return Ok(None);
        };
        let is_usable = |user: &StoredUser| {
            let identity = &user.account.identity;
            identity.email_verified && identity.email.as_deref() == Some(address.as_str())
        };
        let Some(user) = self.postgres.find_user(sub).await?.filter(is_usable) else {
            return Ok(None);
        };
        self.republish(
            &self
                .postgres
                .recently_revoked_sessions(sub, Reason::EmailChange)
                .await?,
        )
        .await?;
        self.publish_new_email(row, user).await.map(Some)
    }

    async fn publish_new_email(&self, row: Uuid, user: StoredUser) -> Result<Account, Error> {
        self.publish_identity(user.account.id, &user.account.identity)
            .await?;
        // The record has consumed the code; that Redis forgets it is tidiness.
        let _ = self.redis.use_code(EMAIL_CODE, user.account.id, row).await;
        Ok(user.account)
    }
}
