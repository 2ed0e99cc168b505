//! Administration of users and OAuth clients, by administrators and by the operator.

pub mod actor;
mod change_user;
pub mod oauth_clients;
mod operator;
pub mod users;
