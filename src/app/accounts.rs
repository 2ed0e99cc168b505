//! The current user: sign-up, profile, password, email address, and password recovery.

pub mod change_email;
pub mod change_password;
pub mod dashboard;
pub mod profile;
pub mod reset_password;
pub mod sign_up;

use std::sync::Arc;

use latchkey_domain::{one_time_code::CodeKeys, rate_limit::RateLimit};

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

/// The settings of accounts.
pub(super) struct AccountSettings {
    signup: Signup,
    password_min: usize,
    limit_code: RateLimit,
}

impl AccountSettings {
    pub(super) fn new(config: &Config) -> AccountSettings {
        AccountSettings {
            signup: config.signup,
            password_min: config.password_min,
            limit_code: config.limit_code,
        }
    }
}
