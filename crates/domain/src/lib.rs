//! The rules of Latchkey as pure functions of their arguments. The server calls them, and so do the
//! models of the revocation protocol in `tests/models`.
//!
//! The package has no I/O, no async code, no clock, and no access to the environment: time is an
//! argument. Its errors are small types of its own; the server converts them into responses.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod access_token;
pub mod account;
pub mod application;
pub mod application_token;
pub mod audit;
pub mod clock_offset;
pub mod cookie_names;
pub mod explanation;
pub mod group;
pub mod host;
pub mod identity_assertion;
pub mod item;
pub mod key_schedule;
pub mod master_secret;
pub mod nonce;
pub mod oauth_client;
pub mod one_time_code;
pub mod opaque_token;
pub mod original_request;
pub mod outages;
pub mod page;
pub mod password;
pub mod rate_limit;
pub mod refresh_token;
pub mod return_to;
pub mod revocation;
pub mod scope;
pub mod session;
pub mod session_cookie;
pub mod text;
pub mod ticket;
pub mod user_agent;
pub mod user_change;
pub mod web_origin;
