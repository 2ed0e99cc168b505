//! Middleware around all routes.

pub mod cors;
pub mod legacy_paths;
mod log_span;
pub mod negotiation;
pub mod request;
