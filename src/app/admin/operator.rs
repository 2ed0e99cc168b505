//! Use cases of the operator on the command line: find a user by username or email address, end the
//! reservation of a name, and create a code for a password reset.

use latchkey_domain::{
    account::{Account, SignInName},
    audit::{Actor, AuditEvent, EventKind},
    one_time_code::CodePurpose,
};
use uuid::Uuid;

use crate::{
    app::admin::{
        actor::AdminActor,
        users::{ManagedUser, Users},
    },
    error::Error,
    postgres::EmailTemplate,
    redis::CodeRegistration,
};

impl Users {
    /// Returns the user with this username or email address.
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

    /// Ends the reservation of a username or email address that a user has released. Returns
    /// whether it was reserved.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn release_name(&self, name: &SignInName) -> Result<bool, Error> {
        let event = AuditEvent::new(EventKind::NameReleased, Actor::Operator, None);
        self.postgres.release_name(name.as_str(), &event).await
    }

    /// Deletes the counters of failed sign-ins and wrong codes of a user. Returns their number.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn reset_rate_limits(&self, account: &Account) -> Result<u64, Error> {
        let identity = &account.identity;
        let names = [identity.username.as_deref(), identity.email.as_deref()];
        self.rate_limits
            .reset_account(names.into_iter().flatten(), account.id)
            .await
    }

    /// Creates a one-time code for a password reset, which the operator passes on to the user.
    ///
    /// The server doesn't send the code, so it works without email and doesn't verify the email
    /// address. It replaces an older code.
    ///
    /// # Errors
    /// `not_found` if the user is missing, is disabled, or has no email address; `busy`,
    /// `unavailable`.
    pub async fn create_reset_code(&self, user_id: Uuid) -> Result<String, Error> {
        let (purpose, email_id) = (CodePurpose::PasswordReset, Uuid::now_v7());
        let event = AdminActor::Operator
            .event(EventKind::CodeRequested, user_id)
            .with_reason(purpose.as_str());
        if !self
            .postgres
            .create_operator_code(email_id, EmailTemplate::PasswordReset, user_id, &event)
            .await?
        {
            return Err(Error::NotFound);
        }
        let derived = self.code_keys.derive(purpose, email_id, user_id);
        let lifetime_ms =
            u64::try_from(self.settings.code_lifetime.as_millis()).unwrap_or(u64::MAX);
        match self
            .redis
            .register_code(
                purpose,
                user_id,
                email_id,
                &derived.hash,
                &derived.hash,
                lifetime_ms,
            )
            .await?
        {
            CodeRegistration::Registered | CodeRegistration::KeptOther => {
                Ok(derived.code.for_mail())
            }
            // A concurrent request has registered a newer code.
            CodeRegistration::Superseded => Err(Error::Busy),
        }
    }
}
