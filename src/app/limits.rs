//! Limits: rate limits, and the pool of threads that hash passwords.

pub mod password_hasher;
pub mod rate_limit_settings;
pub mod rate_limits;
