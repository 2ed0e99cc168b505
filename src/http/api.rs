//! Operations of the API, one module per resource.

pub mod applications;
pub mod audit_events;
pub mod audit_log;
pub mod authentication;
pub mod browser_session;
pub mod current_user;
pub mod groups;
pub mod health;
pub mod items;
pub mod oauth_clients;
pub mod personal_access_tokens;
pub mod responses;
pub mod revocation_stream;
pub mod schemas;
pub mod sessions;
pub mod sign_ups;
pub mod user_export;
pub mod user_sessions;
pub mod users;
pub mod well_known;
