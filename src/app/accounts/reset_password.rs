//! Recovering an account by mail: asking for a code, and using it.

use std::sync::Arc;

use latchkey_domain::{
    account::Email,
    audit::{Actor, Event, Kind},
    one_time_code::{OneTimeCode, Purpose},
    password::{Password, Verdict},
    revocation::{Ending, Reason},
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::Error,
    postgres::{CodeState, StoredUser, Template},
    redis::Reservation,
};

/// What it takes to set a new password.
pub struct PasswordReset {
    /// The account's address.
    pub email: Email,
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
    pub async fn forgot_password(&self, email: &Email, origin: &Origin) -> Result<(), Error> {
        if !self.mailer.is_on() {
            return Err(Error::EmailDisabled(Some(
                "Contact the operator for a reset code.",
            )));
        }
        let promise = self.mail_budget(
            Purpose::PasswordReset,
            email.as_str(),
            self.promise_code(email, origin),
        );
        self.counted(self.forgot_attempt(origin), &origin.allowance, promise)
            .await
    }

    async fn promise_code(&self, email: &Email, origin: &Origin) -> Result<(), Error> {
        let event = origin
            .event(Kind::CodeRequested, Actor::Stranger, None)
            .because(Template::PasswordReset.as_str());
        let nobody = self.code_keys.nobody(email.as_str());
        self.record
            .request_code(
                Uuid::now_v7(),
                Template::PasswordReset,
                email.as_str(),
                nobody,
                event,
            )
            .await?;
        self.mail_bell.notify_one();
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
        self.counted(
            attempt,
            &origin.allowance,
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
            .record
            .find_user_by_email(request.email.as_str())
            .await?;
        let sub = user.as_ref().map_or_else(
            || self.code_keys.nobody(request.email.as_str()),
            |user| user.account.id,
        );
        let reservation = self
            .reserve_code(Purpose::PasswordReset, sub, &request.code, origin)
            .await?;
        let owner = user.as_ref().map(|user| user.account.id);
        self.tell_of_wrong_code(&reservation, Purpose::PasswordReset, owner, origin);
        match (reservation, user) {
            (Reservation::Reserved(row), Some(user)) => {
                let (gateway, id) = (self.clone(), user.account.id);
                let event = origin.event(Kind::PasswordReset, Actor::User(id), Some(id));
                let event = event.because(Reason::PasswordReset.as_str());
                self.uncancelled(async move {
                    gateway
                        .use_reset_code(row, &user, &hash, &password, &event)
                        .await
                })
                .await
            }
            (Reservation::Busy(row), Some(user)) => {
                self.publish_again(row, &user, &password, Error::Busy).await
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
        purpose: Purpose,
        sub: Uuid,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Reservation, Error> {
        let hashes = self.code_keys.hashes(purpose, sub, code);
        self.speed
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
    pub(crate) fn tell_of_wrong_code(
        &self,
        reservation: &Reservation,
        purpose: Purpose,
        user: Option<Uuid>,
        origin: &Origin,
    ) {
        let refused = |kind| origin.event(kind, Actor::Stranger, user);
        match reservation {
            Reservation::Exhausted(_) => {
                self.refuse(refused(Kind::Throttled).because("code"), origin)
            }
            Reservation::Wrong => {
                self.refuse(refused(Kind::CodeRefused).because(purpose.as_str()), origin)
            }
            Reservation::Reserved(_) | Reservation::Busy(_) => {}
        }
    }

    async fn use_reset_code(
        &self,
        row: Uuid,
        user: &StoredUser,
        hash: &str,
        password: &Arc<Password>,
        event: &Event,
    ) -> Result<(), Error> {
        let outcome = self
            .record
            .reset_password(row, user.account.id, hash, Uuid::now_v7(), event)
            .await;
        let (updated, ending) = match outcome {
            Ok(Some(done)) => done,
            Ok(None) => {
                return self
                    .publish_again(row, user, password, Error::InvalidCode)
                    .await;
            }
            Err(error) => {
                // Mostly nothing was decided; if the commit stands after all, the repeat finds out.
                // If this fails too, the reservation lapses by itself.
                let _ = self
                    .speed
                    .release_code(Purpose::PasswordReset, user.account.id, row)
                    .await;
                return Err(error);
            }
        };
        self.mail_bell.notify_one();
        self.publish_reset(row, &updated, &ending).await
    }

    /// If the code was used to set this very password, the reset stands, and only its publication
    /// is missing: it is made up for. Any other password is a wrong code, and counts as one: or
    /// whoever has an old code could try passwords with it.
    async fn publish_again(
        &self,
        row: Uuid,
        user: &StoredUser,
        password: &Arc<Password>,
        unused: Error,
    ) -> Result<(), Error> {
        match self.record.find_code(row).await? {
            CodeState::Open => return Err(unused),
            CodeState::Void => return Err(Error::InvalidCode),
            CodeState::Used { .. } => {}
        }
        let known = self
            .record
            .find_credentials(user.account.id)
            .await?
            .ok_or(Error::InvalidCode)?;
        let user = known.user;
        match self
            .hasher
            .verify(password, Some(&known.password_hash))
            .await?
        {
            Verdict::Wrong => Err(Error::InvalidCode),
            Verdict::Right | Verdict::RightButWeaklyHashed => {
                let ending =
                    Ending::of_user(user.account.id, user.generation, Reason::PasswordReset);
                self.publish_reset(row, &user, &ending).await
            }
        }
    }

    async fn publish_reset(
        &self,
        row: Uuid,
        user: &StoredUser,
        ending: &Ending,
    ) -> Result<(), Error> {
        let account = &user.account;
        self.publish(ending).await?;
        self.publish_identity(account.id, &account.identity).await?;
        // The record has consumed the code; that Redis forgets it is tidiness.
        let _ = self
            .speed
            .use_code(Purpose::PasswordReset, account.id, row)
            .await;
        Ok(())
    }
}
