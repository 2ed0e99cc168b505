//! Authentication.

pub mod caller;
pub mod cookie;
pub mod csrf;
