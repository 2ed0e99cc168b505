//! What is known about a request: the client's address, and the headers of its future response.

pub mod client_address;
pub mod rate_limit_headers;
pub mod response_headers;
