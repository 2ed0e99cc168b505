//! Recovering an account by mail: asking for a code, and using it.

use std::sync::Arc;

use latchkey_domain::{
    account::EmailAddress,
    audit::{Actor, AuditEvent, EventKind},
    one_time_code::{CodePurpose, OneTimeCode},
    password::{Password, PasswordMatch},
    revocation::{Reason, RevocationBatch},
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::Error,
    postgres::{CodeState, EmailTemplate, StoredUser},
    redis::Reservation,
};

/// What it takes to set a new password.
pub struct PasswordReset {
    /// The account's address.
    pub email: EmailAddress,
    /// The code of the mail.
    pub code: OneTimeCode,
    /// The password to be.
    pub new_password: Password,
}

impl Gateway {
    /// Promises a mail with a code, if there is an account with this address. The same is done, and
    /// answered, if not; and if the address had enough mails: then the last code stays the good
    /// one.
    ///
    /// # Errors
    /// `email_disabled`, `too_many_requests`, `unavailable`.
    pub async fn request_password_reset(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Result<(), Error> {
        if !self.mailer.is_on() {
            return Err(Error::EmailDisabled(Some(
                "Contact the operator for a reset code.",
            )));
        }
        let promise = self.within_email_quota(
            CodePurpose::PasswordReset,
            email.as_str(),
            self.enqueue_reset_code(email, origin),
        );
        self.rate_limited(
            self.reset_request_attempt(origin),
            &origin.request_limits,
            promise,
        )
        .await
    }

    async fn enqueue_reset_code(&self, email: &EmailAddress, origin: &Origin) -> Result<(), Error> {
        let event = origin
            .event(EventKind::CodeRequested, Actor::Unauthenticated, None)
            .with_reason(EmailTemplate::PasswordReset.as_str());
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
        self.mail_ready.notify_one();
        Ok(())
    }

    /// Sets a new password with a code. Every session of the account ends, and the address counts
    /// as verified.
    ///
    /// # Errors
    /// `weak_password`, `invalid_code`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn reset_password(
        self: &Arc<Self>,
        request: PasswordReset,
        origin: &Origin,
    ) -> Result<(), Error> {
        let attempt = self.code_attempt(request.email.as_str(), origin);
        self.rate_limited(
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
        request
            .new_password
            .check(self.config.password_min)
            .map_err(Error::WeakPassword)?;
        // Policy and hash come first: a code is not to be lost to a password that is refused.
        let password = Arc::new(request.new_password);
        let hash = self.hasher.hash(password.clone()).await?;
        let user = self
            .postgres
            .find_user_by_email(request.email.as_str())
            .await?;
        let sub = user.as_ref().map_or_else(
            || self.code_keys.decoy_user_id(request.email.as_str()),
            |user| user.account.id,
        );
        let reservation = self
            .reserve_code(CodePurpose::PasswordReset, sub, &request.code, origin)
            .await?;
        let owner = user.as_ref().map(|user| user.account.id);
        self.record_wrong_code(&reservation, CodePurpose::PasswordReset, owner, origin);
        match (reservation, user) {
            (Reservation::Reserved(row), Some(user)) => {
                let (gateway, id) = (self.clone(), user.account.id);
                let event = origin.event(EventKind::PasswordReset, Actor::User(id), Some(id));
                let event = event.with_reason(Reason::PasswordReset.as_str());
                self.run_to_completion(async move {
                    gateway
                        .use_reset_code(row, &user, &hash, &password, &event)
                        .await
                })
                .await
            }
            (Reservation::Busy(row), Some(user)) => {
                self.finish_used_reset(row, &user, &password, Error::Busy)
                    .await
            }
            (Reservation::Exhausted(retry_after), _) => Err(Error::TooManyRequests { retry_after }),
            (Reservation::Wrong | Reservation::Reserved(_) | Reservation::Busy(_), _) => {
                Err(Error::InvalidCode)
            }
        }
    }

    /// Looks at a code, unless this network has tried too many for the account. None of them voids
    /// the code, so that no stranger can stop a recovery.
    pub(crate) async fn reserve_code(
        &self,
        purpose: CodePurpose,
        sub: Uuid,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Reservation, Error> {
        let hashes = self.code_keys.hashes(purpose, sub, code);
        self.redis
            .reserve_code(
                purpose,
                sub,
                &hashes,
                self.network_id(origin),
                self.config.limit_code,
            )
            .await
    }

    /// Records that a code was wrong, or that there were too many of them.
    pub(crate) fn record_wrong_code(
        &self,
        reservation: &Reservation,
        purpose: CodePurpose,
        user: Option<Uuid>,
        origin: &Origin,
    ) {
        let refused = |kind| origin.event(kind, Actor::Unauthenticated, user);
        match reservation {
            Reservation::Exhausted(_) => {
                self.record_denied(refused(EventKind::RateLimited).with_reason("code"), origin)
            }
            Reservation::Wrong => self.record_denied(
                refused(EventKind::CodeCheckFailed).with_reason(purpose.as_str()),
                origin,
            ),
            Reservation::Reserved(_) | Reservation::Busy(_) => {}
        }
    }

    async fn use_reset_code(
        &self,
        row: Uuid,
        user: &StoredUser,
        hash: &str,
        password: &Arc<Password>,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let outcome = self
            .postgres
            .reset_password(row, user.account.id, hash, Uuid::now_v7(), event)
            .await;
        let (updated, ending) = match outcome {
            Ok(Some(done)) => done,
            Ok(None) => {
                return self
                    .finish_used_reset(row, user, password, Error::InvalidCode)
                    .await;
            }
            Err(error) => {
                // Mostly nothing was decided; if the commit stands after all, the repeat finds out.
                // If this fails too, the reservation lapses by itself.
                let _ = self
                    .redis
                    .release_code(CodePurpose::PasswordReset, user.account.id, row)
                    .await;
                return Err(error);
            }
        };
        self.mail_ready.notify_one();
        self.publish_reset(row, &updated, &ending).await
    }

    /// If the code was used to set this very password, the reset stands, and only its publication
    /// is missing: it is made up for. Any other password is a wrong code, and counts as one: or
    /// whoever has an old code could try passwords with it.
    async fn finish_used_reset(
        &self,
        row: Uuid,
        user: &StoredUser,
        password: &Arc<Password>,
        unused: Error,
    ) -> Result<(), Error> {
        match self.postgres.find_code(row).await? {
            CodeState::Open => return Err(unused),
            CodeState::Void => return Err(Error::InvalidCode),
            CodeState::Used { .. } => {}
        }
        let known = self
            .postgres
            .find_credentials(user.account.id)
            .await?
            .ok_or(Error::InvalidCode)?;
        let user = known.user;
        match self
            .hasher
            .verify(password, Some(&known.password_hash))
            .await?
        {
            PasswordMatch::NoMatch => Err(Error::InvalidCode),
            PasswordMatch::Match | PasswordMatch::MatchNeedsRehash => {
                let ending = RevocationBatch::of_user(
                    user.account.id,
                    user.generation,
                    Reason::PasswordReset,
                );
                self.publish_reset(row, &user, &ending).await
            }
        }
    }

    async fn publish_reset(
        &self,
        row: Uuid,
        user: &StoredUser,
        ending: &RevocationBatch,
    ) -> Result<(), Error> {
        let account = &user.account;
        self.publish(ending).await?;
        self.publish_identity(account.id, &account.identity).await?;
        // The record has consumed the code; that Redis forgets it is tidiness.
        let _ = self
            .redis
            .use_code(CodePurpose::PasswordReset, account.id, row)
            .await;
        Ok(())
    }
}
