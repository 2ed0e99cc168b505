//! Limits.

pub mod local_buckets;
pub mod password_hasher;
pub mod rate_limits;
pub mod request_limits;
