//! Middleware.

pub mod client_address;
pub mod cors;
pub mod legacy_paths;
pub mod negotiation;
pub mod rate_limit_headers;
pub mod request;
pub mod response_headers;
