//! The file `security.txt` below `/.well-known/`: the contact for reports of vulnerabilities (RFC
//! 9116).

use poem::Response;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::app::App;

pub const PATH: &str = "/.well-known/security.txt";

/// Time after which a copy is stale. It should be less than a year (RFC 9116 section 2.5.5).
const LIFETIME: Duration = Duration::days(180);

/// The fields that depend only on the settings.
pub struct SecurityTxt(String);

impl SecurityTxt {
    /// Returns `None` if no contact is configured.
    pub fn new(app: &App) -> Option<SecurityTxt> {
        let contact = app.config.security_contact.as_ref()?.as_str();
        let issuer = &app.config.issuer;
        let fields = format!("Contact: {contact}\nPreferred-Languages: en\n");
        // A web URL must be an `https://` URL (RFC 9116 section 2.5.2).
        let canonical = if issuer.is_https() {
            format!("Canonical: {}{PATH}\n", issuer.as_str())
        } else {
            String::new()
        };
        Some(SecurityTxt(fields + &canonical))
    }

    /// Responds with the file, which expires in half a year.
    pub fn respond(&self) -> Response {
        let expires = OffsetDateTime::now_utc() + LIFETIME;
        let expires = expires.replace_nanosecond(0).unwrap_or(expires);
        let expires = expires.format(&Rfc3339).unwrap_or_default();
        Response::builder()
            .content_type("text/plain; charset=utf-8")
            .body(format!("{}Expires: {expires}\n", self.0))
    }
}
