//! Renders emails as plain text and HTML.
//!
//! An email contains no text from the client that caused it, except the recipient's own address.
//! Otherwise, an attacker could send text of their choice in the name of the server. A browser
//! appears only by the name of a known one, and an IP address only in its parsed form.

mod codes;
mod notices;
#[cfg(test)]
mod tests;

use askama::Template;
use latchkey_domain::user_agent;
use time::{OffsetDateTime, UtcOffset, macros::format_description};

pub use codes::Expiry;
pub use notices::Notice;

use super::MailError;

/// A rendered email. It has no `Debug`, because it can contain a one-time code.
pub struct EmailMessage {
    /// The subject. Never contains a code, because lock screens show subjects.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The settings that all emails of a server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name of the service.
    pub brand: String,
    /// The public URL of the server.
    pub issuer: String,
    /// Whether the server has pages for users, to which emails can link.
    pub has_user_pages: bool,
    /// The URI of the help link.
    pub help_url: Option<String>,
}

impl Service {
    /// Returns the URL of a page; `None` without pages for users.
    fn page(&self, path: &str) -> Option<String> {
        self.has_user_pages
            .then(|| format!("{}{path}", self.issuer))
    }

    /// Returns a URL where users find help.
    fn contact(&self) -> Option<String> {
        self.help_url.clone().or_else(|| self.page(""))
    }
}

/// The context of an email: the server, the time, and the client that sent the request.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The server.
    pub service: &'a Service,
    /// The time of the request or of the change.
    pub at: OffsetDateTime,
    /// The IP address that sent the request.
    pub ip_address: Option<&'a str>,
    /// The `User-Agent` of the request.
    pub user_agent: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "templates/test.txt", escape = "none")]
struct TestText<'a> {
    brand: &'a str,
    time: &'a str,
}

#[derive(Template)]
#[template(path = "templates/test.html")]
struct TestHtml<'a> {
    brand: &'a str,
    time: &'a str,
}

impl EmailMessage {
    fn new(
        subject: impl Into<String>,
        text: &impl Template,
        html: &impl Template,
    ) -> Result<EmailMessage, MailError> {
        Ok(EmailMessage {
            subject: subject.into(),
            text: text.render()?,
            html: html.render()?,
        })
    }

    /// Renders the test email of the operator.
    pub fn test(occasion: &Occasion<'_>) -> Result<EmailMessage, MailError> {
        let (brand, time) = (occasion.brand(), &occasion.time()?);
        EmailMessage::new(
            format!("Test email from {brand}"),
            &TestText { brand, time },
            &TestHtml { brand, time },
        )
    }
}

impl Occasion<'_> {
    /// Returns the name of the service.
    fn brand(&self) -> &str {
        &self.service.brand
    }

    /// Formats the time in UTC, because the time zone of the recipient is unknown.
    fn time(&self) -> Result<String, time::error::Format> {
        format_time(self.at)
    }

    /// Returns the sentence about the client that sent the request.
    fn request(&self) -> Result<String, time::error::Format> {
        let (browser, time) = (self.browser(), self.time()?);
        let address = self
            .ip_address
            .map(|address| format!(" (IP address {address})"));
        let address = address.unwrap_or_default();
        Ok(format!(
            "The request came from {browser}{address} on {time}."
        ))
    }

    /// Returns the name of a known browser, without any part of the header.
    fn browser(&self) -> String {
        self.user_agent
            .and_then(user_agent::known)
            .unwrap_or_else(|| "an unknown browser".to_owned())
    }
}

fn format_time(time: OffsetDateTime) -> Result<String, time::error::Format> {
    let description =
        format_description!("[month repr:long] [day padding:none], [year] at [hour]:[minute] UTC");
    time.to_offset(UtcOffset::UTC).format(description)
}
