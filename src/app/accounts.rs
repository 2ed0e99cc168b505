//! The current user: sign-up, profile, password, email address, and password recovery.

pub mod change_email;
pub mod change_password;
mod confirm_password;
pub mod dashboard;
mod invitations;
mod one_time_codes;
pub mod profile;
pub mod reset_password;
pub mod sign_up;
pub mod verified_sign_up;

use std::sync::Arc;

use latchkey_domain::{
    account::{ReservedUsernames, Username},
    one_time_code::CodeKeys,
    password::PasswordPolicy,
    rate_limit::RateLimit,
};
use uuid::Uuid;

use crate::{
    app::{
        audit::Audit,
        keys::Keys,
        limits::{password_hasher::PasswordHasher, rate_limits::RateLimits},
        mail::Mail,
        revocation::Revocations,
        sessions::Sessions,
        tasks::Tasks,
        tokens::Tokens,
    },
    config::{Config, Signup},
    error::Error,
    postgres::Postgres,
    redis::Redis,
};

/// Registers users, and changes their own account.
pub struct Accounts {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) audit: Arc<Audit>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) hasher: Arc<PasswordHasher>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) mail: Arc<Mail>,
    pub(super) code_keys: Arc<CodeKeys>,
    pub(super) settings: AccountSettings,
}

impl Accounts {
    /// Requires that a username that a user chooses isn't reserved.
    ///
    /// # Errors
    /// `invalid_request`.
    fn require_unreserved(&self, username: Option<&Username>) -> Result<(), Error> {
        if username.is_some_and(|username| self.settings.reserved_usernames.contains(username)) {
            return Err(Error::invalid_field(
                "username",
                "is reserved; choose another username",
            ));
        }
        Ok(())
    }

    /// Requires that PostgreSQL contains no revocation of the caller's session.
    ///
    /// A replica can accept a token until the response of the operation that revokes it. Without
    /// this check, an error could describe the state after that operation.
    ///
    /// # Errors
    /// `token_revoked`, `unavailable`.
    async fn require_unrevoked_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
    ) -> Result<(), Error> {
        if self
            .postgres
            .is_session_revoked(user_id, session_id)
            .await?
        {
            return Err(Error::TokenRevoked);
        }
        Ok(())
    }
}

/// The settings of accounts.
pub(super) struct AccountSettings {
    signup: Signup,
    reserved_usernames: ReservedUsernames,
    pub(super) password_policy: Arc<PasswordPolicy>,
    limit_code: RateLimit,
}

impl AccountSettings {
    pub(super) fn new(config: &Config) -> AccountSettings {
        AccountSettings {
            signup: config.signup,
            reserved_usernames: config.reserved_usernames.clone(),
            password_policy: config.password_policy(),
            limit_code: config.limit_code,
        }
    }
}
