//! Administration of users, groups, and OAuth clients, by administrators and by the operator.

pub mod actor;
mod change_user;
pub mod groups;
pub mod oauth_clients;
mod operator;
mod sign_out_all_users;
pub mod users;
