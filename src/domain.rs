//! The rules, as pure functions of their arguments: no I/O, no async, no clock; time is an
//! argument.

pub mod access_token;
pub mod account;
pub mod administration;
pub mod agent;
pub mod assertion;
pub mod audit;
pub mod client;
pub mod cookie;
pub mod explanation;
pub mod host;
pub mod item;
pub mod key_life;
pub mod master_secret;
pub mod one_time_code;
pub mod opaque_token;
pub mod page;
pub mod password;
pub mod refresh_token;
pub mod revocation;
pub mod scope;
pub mod session;
pub mod text;
pub mod throttle;
pub mod web_origin;
