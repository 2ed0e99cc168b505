//! Accounts.

pub mod change_email;
pub mod change_password;
pub mod dashboard;
pub mod profile;
pub mod reset_password;
pub mod sign_up;
