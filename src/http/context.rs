//! The context of a request: the client address and the headers deferred to its response.

pub mod client_address;
pub mod rate_limit_headers;
pub mod response_headers;
