//! An address of one's own: asking for a code there, and confirming it. Confirming the address that
//! one has verifies it.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, Email},
    audit::{Event, Kind},
    one_time_code::{OneTimeCode, Purpose},
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

const PURPOSE: Purpose = Purpose::EmailConfirmation;

impl Gateway {
    /// Promises a code to an address, which may be the caller's own. Whether somebody has it is not
    /// told here, nor that it had enough mails.
    ///
    /// # Errors
    /// `incorrect_password`, `token_revoked`, `email_disabled`, `too_many_requests`, `busy`,
    /// `unavailable`.
    pub async fn request_email(
        &self,
        caller: &Claims,
        email: &Email,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        // Whoever has found a token must not guess the password with it, and nobody fills the
        // mailboxes of others.
        let sign_in = self.sign_in_attempt(&caller.sub.to_string(), origin);
        let story = self.counted(
            sign_in,
            &origin.allowance,
            self.try_request_email(caller, email, password, origin),
        );
        self.counted(self.forgot_attempt(origin), &origin.allowance, story)
            .await
    }

    async fn try_request_email(
        &self,
        caller: &Claims,
        email: &Email,
        password: Password,
        origin: &Origin,
    ) -> Result<(), Error> {
        let user = self.prove_password(caller, password, origin).await?.user;
        if !self.mailer.is_on() {
            return Err(Error::EmailDisabled(None));
        }
        let own = user
            .account
            .identity
            .email
            .is_some_and(|own| own.eq_ignore_ascii_case(email.as_str()));
        let kind = if own {
            Kind::CodeRequested
        } else {
            Kind::EmailChangeRequested
        };
        let event = origin.own(kind, caller).because(PURPOSE.as_str());
        self.mail_budget(
            PURPOSE,
            email.as_str(),
            self.promise_confirmation(caller.sub, email, &event),
        )
        .await
    }

    async fn promise_confirmation(
        &self,
        sub: Uuid,
        email: &Email,
        event: &Event,
    ) -> Result<(), Error> {
        self.record
            .request_confirmation(Uuid::now_v7(), sub, email.as_str(), event)
            .await?;
        self.mail_bell.notify_one();
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
        self.counted(
            attempt,
            &origin.allowance,
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
        let reserved = self.reserve_code(PURPOSE, sub, code, origin).await?;
        self.tell_of_wrong_code(&reserved, PURPOSE, Some(sub), origin);
        let event = origin.own(Kind::EmailChanged, caller);
        match reserved {
            Reservation::Reserved(row) => {
                self.uncancelled(async move { gateway.use_email_code(row, sub, sid, &event).await })
                    .await
            }
            Reservation::Busy(row) => self.confirm_again(row, sub).await?.ok_or(Error::Busy),
            Reservation::Exhausted(retry_after) => Err(Error::TooManyRequests { retry_after }),
            Reservation::Wrong => Err(Error::InvalidCode),
        }
    }

    async fn use_email_code(
        &self,
        row: Uuid,
        sub: Uuid,
        sid: Uuid,
        event: &Event,
    ) -> Result<Account, Error> {
        match self
            .record
            .confirm_email(row, sub, sid, Uuid::now_v7(), event)
            .await
        {
            Ok(Some(confirmed)) => {
                self.mail_bell.notify_one();
                self.publish(&confirmed.ending).await?;
                self.publish_email(row, confirmed.user).await
            }
            Ok(None) => self
                .confirm_again(row, sub)
                .await?
                .ok_or(Error::InvalidCode),
            Err(error) => {
                // Mostly nothing was decided, and the code may be tried again at once; otherwise
                // the repeat finds out.
                let _ = self.speed.release_code(PURPOSE, sub, row).await;
                Err(error)
            }
        }
    }

    /// The code was used before: what came of it stands, and only its publication may be missing.
    /// It is made up for.
    async fn confirm_again(&self, row: Uuid, sub: Uuid) -> Result<Option<Account>, Error> {
        let CodeState::Used {
            address: Some(address),
        } = self.record.find_code(row).await?
        else {
            return Ok(None);
        };
        let stands = |user: &StoredUser| {
            let identity = &user.account.identity;
            identity.email_verified && identity.email.as_deref() == Some(address.as_str())
        };
        let Some(user) = self.record.find_user(sub).await?.filter(stands) else {
            return Ok(None);
        };
        self.republish(
            &self
                .record
                .sessions_ended_lately(sub, Reason::EmailChange)
                .await?,
        )
        .await?;
        self.publish_email(row, user).await.map(Some)
    }

    async fn publish_email(&self, row: Uuid, user: StoredUser) -> Result<Account, Error> {
        self.publish_identity(user.account.id, &user.account.identity)
            .await?;
        // The record has consumed the code; that Redis forgets it is tidiness.
        let _ = self.speed.use_code(PURPOSE, user.account.id, row).await;
        Ok(user.account)
    }
}
