//! Administration.

pub mod change_user;
pub mod oauth_clients;
pub mod operator;
pub mod users;
