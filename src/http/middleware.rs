//! Middleware around all routes.

pub mod cors;
pub mod legacy_paths;
pub mod negotiation;
pub mod request;
