//! What only the operator does, at the machine itself: finding accounts by what people are called,
//! and handing codes over.

use latchkey_domain::{account::SignInName, audit::EventKind, one_time_code::CodePurpose};
use uuid::Uuid;

use crate::{
    app::{AdminActor, Gateway, ManagedUser},
    error::Error,
    postgres::EmailTemplate,
    redis::Registered,
};

impl Gateway {
    /// The account with this user name or address.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn find_user(&self, name: &SignInName) -> Result<ManagedUser, Error> {
        Ok(self
            .postgres
            .find_user_to_sign_in(name.as_str())
            .await?
            .ok_or(Error::NotFound)?
            .user
            .into())
    }

    /// A one-time code for a new password, to be handed over and not mailed: it works where mail is
    /// off, and proves nothing about the address. An older code does not work any more.
    ///
    /// # Errors
    /// `not_found` where the account has no address, is disabled or gone; `busy`, `unavailable`.
    pub async fn make_reset_code(&self, user: Uuid) -> Result<String, Error> {
        let (purpose, row) = (CodePurpose::PasswordReset, Uuid::now_v7());
        let event = AdminActor::Operator
            .event(EventKind::CodeRequested, user)
            .with_reason(purpose.as_str());
        if !self
            .postgres
            .create_operator_code(row, EmailTemplate::PasswordReset, user, &event)
            .await?
        {
            return Err(Error::NotFound);
        }
        let derived = self.code_keys.derive(purpose, row, user);
        let life = u64::try_from(self.config.code_lifetime.as_millis()).unwrap_or(u64::MAX);
        match self
            .redis
            .register_code(purpose, user, row, &derived.hash, &derived.hash, life)
            .await?
        {
            Registered::This | Registered::Other => Ok(derived.code.for_mail()),
            // Somebody asked for one at this very moment.
            Registered::Newer => Err(Error::Busy),
        }
    }
}
