//! Sessions.

pub mod activity;
pub mod issue;
pub mod list;
pub mod refresh;
pub mod renew_cookie;
pub mod restore;
pub mod sign_in;
pub mod sign_out;
