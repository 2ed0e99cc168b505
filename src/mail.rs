//! Email: renders an email and sends it. It uses no store; the mail worker retries.

mod folder;
mod messages;
mod smtp;

use std::path::PathBuf;

use latchkey_domain::host;
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use secrecy::ExposeSecret;
use url::Url;
use uuid::Uuid;

pub use messages::{EmailMessage, Expiry, Notice, Occasion, Service};

use crate::{
    config::MailTransport,
    mail::smtp::{SmtpFailure, SmtpServer},
};

/// A failure to send an email. The text is for the log.
pub type MailError = Box<dyn std::error::Error + Send + Sync>;

/// The code of an email expired while the email was being sent.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the code expired before the email was sent")]
pub struct CodeExpired;

pub struct Mailer {
    transport: Transport,
    from: Mailbox,
}

enum Transport {
    Off,
    Smtp(Box<SmtpServer>),
    /// One file per email.
    File(PathBuf),
}

impl Mailer {
    /// Parses the sender and the server's URL without connecting.
    pub fn new(setting: &MailTransport, from: &str) -> Result<Mailer, MailSettingError> {
        let from = from.parse().map_err(|_| MailSettingError::From)?;
        let transport = match setting {
            MailTransport::Off => Transport::Off,
            MailTransport::Smtp(url) => {
                let server = require_starttls(url.expose_secret())
                    .map_err(MailError::from)
                    .and_then(|url| SmtpServer::from_url(&url));
                Transport::Smtp(Box::new(server.map_err(|_| MailSettingError::Server)?))
            }
            MailTransport::File(folder) => Transport::File(folder.clone()),
        };
        Ok(Mailer { transport, from })
    }

    /// Whether email is enabled.
    pub fn is_enabled(&self) -> bool {
        !matches!(self.transport, Transport::Off)
    }

    /// Checks that the mail server accepts connections and the credentials. Returns a
    /// sentence.
    ///
    /// # Errors
    /// If it doesn't.
    pub async fn check(&self) -> Result<&'static str, MailError> {
        match &self.transport {
            Transport::Off => Ok("Email is off."),
            Transport::File(_) => Ok("Emails are written to a folder."),
            Transport::Smtp(server) => {
                server.check().await?;
                Ok("The mail server accepts connections.")
            }
        }
    }

    /// Sends an email to one recipient. The `Message-ID` contains `id`, so that mail clients can
    /// detect an email that was sent twice.
    pub async fn send(
        &self,
        id: Uuid,
        recipient: &str,
        email: &EmailMessage,
    ) -> Result<(), MailError> {
        match &self.transport {
            Transport::Off => Err("email is disabled".into()),
            Transport::Smtp(server) => {
                let message = self.build_message(id, recipient, email)?;
                Ok(server.send(&message).await?)
            }
            Transport::File(folder) => {
                let message = self.build_message(id, recipient, email)?.formatted();
                let folder = folder.clone();
                let write = move || folder::write_email(&folder, id, &message);
                Ok(tokio::task::spawn_blocking(write).await??)
            }
        }
    }

    /// Whether the mail server has permanently rejected the recipient or the content, so that
    /// another attempt would fail in the same way.
    pub fn is_rejection_of_email(error: &MailError) -> bool {
        smtp_failure(error).is_some_and(SmtpFailure::is_rejection_of_email)
    }

    /// Whether the failure concerns this email only, not the delivery of all emails.
    pub fn concerns_only_this_email(error: &MailError) -> bool {
        error.is::<CodeExpired>()
            || smtp_failure(error).is_some_and(SmtpFailure::concerns_only_this_email)
    }

    /// Describes a failure without the response of the mail server, which can contain a recipient.
    pub fn describe_failure(error: &MailError) -> String {
        match smtp_failure(error) {
            Some(failure) => failure.describe(),
            None if error.is::<CodeExpired>() => error.to_string(),
            None => "the email could not be created or written; see the log of this replica".into(),
        }
    }

    fn build_message(
        &self,
        id: Uuid,
        recipient: &str,
        email: &EmailMessage,
    ) -> Result<Message, MailError> {
        let recipient: Address = recipient.parse()?;
        let mut message = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .subject(email.subject.as_str())
            .multipart(MultiPart::alternative_plain_html(
                email.text.clone(),
                email.html.clone(),
            ))?;
        // Mail servers send no automatic reply to such an email (RFC 3834 section 5).
        message.headers_mut().insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
        Ok(message)
    }
}

/// The email setting that is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSettingError {
    /// The sender.
    From,
    /// The URL of the server.
    Server,
}

fn smtp_failure(error: &MailError) -> Option<&SmtpFailure> {
    error.downcast_ref()
}

/// Makes STARTTLS required for remote servers and for servers with a password.
///
/// Otherwise an attacker on the network could remove STARTTLS and read one-time codes. The URL can
/// override this, for example with `?tls=opportunistic`.
fn require_starttls(url: &str) -> Result<Url, url::ParseError> {
    let mut url = Url::parse(url)?;
    let is_local = url.host_str().is_some_and(host::is_this_machine);
    let has_no_credentials = url.username().is_empty() && url.password().is_none();
    let has_tls_option = url.query_pairs().any(|(name, _)| name == "tls");
    if url.scheme() == "smtp" && !has_tls_option && !(is_local && has_no_credentials) {
        url.query_pairs_mut().append_pair("tls", "required");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_is_marked_as_automatic() {
        let mailer = Mailer::new(&MailTransport::Off, "no-reply@example.com").unwrap();
        let email = EmailMessage {
            subject: "Subject".into(),
            text: "Text".into(),
            html: "<p>Text</p>".into(),
        };
        let message = mailer.build_message(Uuid::nil(), "john@example.com", &email);
        let text = String::from_utf8(message.unwrap().formatted()).unwrap();
        assert!(
            text.contains("\r\nAuto-Submitted: auto-generated\r\n"),
            "{text}"
        );
    }

    /// Mail servers accept lines of at most 998 bytes, and a soft line break is no part of the text.
    #[test]
    fn link_is_on_one_line_in_every_encoding() {
        let mailer = Mailer::new(&MailTransport::Off, "no-reply@example.com").unwrap();
        let short = "https://auth.example.com/reset-password#email=john%40example.com&code=A-B";
        let long = format!("{short}{}", "x".repeat(1_200));
        for (brand, link) in [
            ("Latchkey", short),
            ("Café Größe", short),
            ("Latchkey", &long),
        ] {
            let email = EmailMessage {
                subject: "Subject".into(),
                text: format!("{brand}\n\n    7H3KM-X9QTA\n\n    {link}\n\nEnd"),
                html: String::new(),
            };
            let message = mailer.build_message(Uuid::nil(), "john@example.com", &email);
            let text = String::from_utf8(message.unwrap().formatted()).unwrap();
            assert!(!text.contains("format=flowed"), "{text}");
            assert!(text.contains("\r\n    7H3KM-X9QTA\r\n"), "{text}");
            let decoded = match text.contains("Content-Transfer-Encoding: quoted-printable") {
                true => text.replace("=\r\n", "").replace("=3D", "="),
                false => text,
            };
            assert!(
                decoded.contains(&format!("\r\n    {link}\r\n")),
                "{decoded}"
            );
        }
    }

    #[test]
    fn remote_smtp_server_requires_starttls() {
        let with_tls = |url: &str| require_starttls(url).unwrap().to_string();
        for local in [
            "smtp://localhost",
            "smtp://127.0.0.1:25",
            "smtp://127.2.0.9:2525/",
            "smtp://[::1]:25",
        ] {
            assert_eq!(with_tls(local), local);
        }
        for explicit in [
            "smtps://u:p@a.example",
            "smtp://a.example?tls=opportunistic",
            "smtp://u:p@a.example?b=c&tls=required",
        ] {
            assert_eq!(with_tls(explicit), explicit);
        }
        for (url, options) in [
            ("smtp://a.example", "?tls=required"),
            ("smtp://localhost.a.example:25", "?tls=required"),
            ("smtp://john:secret@localhost", "?tls=required"),
            ("smtp://a.example?b=c", "&tls=required"),
            // The credentials look like a local host or a TLS option.
            ("smtp://localhost:25@a.example", "?tls=required"),
            ("smtp://127.0.0.1:tls=none@a.example", "?tls=required"),
        ] {
            assert_eq!(
                require_starttls(url).unwrap(),
                Url::parse(&format!("{url}{options}")).unwrap()
            );
        }
        assert_eq!(
            with_tls("SMTP://a.example#tls=none"),
            "smtp://a.example?tls=required#tls=none"
        );
        assert_eq!(
            with_tls("smtp://a.example?b=c#tls=none"),
            "smtp://a.example?b=c&tls=required#tls=none"
        );
    }
}
