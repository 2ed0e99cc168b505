//! Lifecycle.

pub mod cleanup;
pub mod readiness;
pub mod start;
