//! Authentication of callers: access tokens, the session cookie, and CSRF protection.

pub mod application_cookie;
pub mod caller;
pub mod cookie;
pub mod csrf;
pub mod form_csrf;
