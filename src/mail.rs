//! Email: renders an email and sends it. It uses no store; the email worker retries.

mod folder;
mod letters;

use std::{path::PathBuf, time::Duration};

use latchkey_domain::host;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};
use url::Url;
use uuid::Uuid;

pub use letters::{EmailMessage, Occasion};

use crate::config::MailTransport;

/// For connecting, and for each answer of the mail server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// For the whole of one mail: shorter than the back-off after which another replica would try the
/// same one.
const LONGEST: Duration = Duration::from_secs(12);

/// Why a mail could not be handed over. The text is for the log.
pub type MailError = Box<dyn std::error::Error + Send + Sync>;

/// Sends mails.
pub struct Mailer {
    route: Route,
    from: Mailbox,
}

enum Route {
    Off,
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// One file per email.
    File(PathBuf),
}

impl Mailer {
    /// Reads sender and server; nothing is connected yet.
    pub fn new(transport: &MailTransport, from: &str) -> Result<Mailer, MailSettingError> {
        let from = from.parse().map_err(|_| MailSettingError::From)?;
        let route = match transport {
            MailTransport::Off => Route::Off,
            MailTransport::Smtp(url) => {
                Route::Smtp(smtp(url.expose()).map_err(|_| MailSettingError::Server)?)
            }
            MailTransport::File(folder) => Route::File(folder.clone()),
        };
        Ok(Mailer { route, from })
    }

    /// Whether mails can leave at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.route, Route::Off)
    }

    /// Hands one letter to one recipient over. `id` becomes the message's id, so that a mail sent
    /// twice can be known.
    pub async fn send(
        &self,
        id: Uuid,
        recipient: &str,
        letter: &EmailMessage,
    ) -> Result<(), MailError> {
        match &self.route {
            Route::Off => Err("email is disabled".into()),
            Route::Smtp(server) => {
                let message = self.message(id, recipient, letter)?;
                tokio::time::timeout(LONGEST, server.send(message))
                    .await?
                    .map(drop)
                    .map_err(MailError::from)
            }
            Route::File(folder) => {
                let message = self.message(id, recipient, letter)?.formatted();
                let folder = folder.clone();
                let write = move || folder::write_email(&folder, id, &message);
                Ok(tokio::task::spawn_blocking(write).await??)
            }
        }
    }

    /// Whether the server said that it will never take this mail (an SMTP answer of the class 5yz).
    pub fn is_refused(error: &MailError) -> bool {
        error
            .downcast_ref::<lettre::transport::smtp::Error>()
            .is_some_and(lettre::transport::smtp::Error::is_permanent)
    }

    fn message(
        &self,
        id: Uuid,
        recipient: &str,
        letter: &EmailMessage,
    ) -> Result<Message, MailError> {
        let recipient: Address = recipient.parse()?;
        let message = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .subject(letter.subject.as_str())
            .multipart(MultiPart::alternative_plain_html(
                letter.text.clone(),
                letter.html.clone(),
            ))?;
        Ok(message)
    }
}

/// Which mail setting is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSettingError {
    /// The sender.
    From,
    /// The server's address.
    Server,
}

fn smtp(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
    let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(insisting(url)?.as_str())?;
    Ok(server.timeout(Some(TIMEOUT)).build())
}

/// Off this machine STARTTLS is insisted on, or whoever sits in between strips it and reads codes;
/// and wherever the server wants a password. Who wants less says so: `?tls=opportunistic`.
fn insisting(url: &str) -> Result<Url, url::ParseError> {
    let mut url = Url::parse(url)?;
    let is_here = url.host_str().is_some_and(host::is_this_machine);
    let is_open = url.username().is_empty() && url.password().is_none();
    let is_told = url.query_pairs().any(|(name, _)| name == "tls");
    if url.scheme() == "smtp" && !is_told && !(is_here && is_open) {
        url.query_pairs_mut().append_pair("tls", "required");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_insisted_on_unless_the_server_is_here_or_the_address_says_otherwise() {
        let insisted = |url: &str| insisting(url).unwrap().to_string();
        for here in [
            "smtp://localhost",
            "smtp://127.0.0.1:25",
            "smtp://127.2.0.9:2525/",
        ] {
            assert_eq!(insisted(here), here);
        }
        for told in [
            "smtps://u:p@a.example",
            "smtp://a.example?tls=opportunistic",
            "smtp://u:p@a.example?b=c&tls=required",
        ] {
            assert_eq!(insisted(told), told);
        }
        for (elsewhere, options) in [
            ("smtp://a.example", "?tls=required"),
            ("smtp://localhost.a.example:25", "?tls=required"),
            ("smtp://john:secret@localhost", "?tls=required"),
            ("smtp://a.example?b=c", "&tls=required"),
            // What only looks like something else.
            ("smtp://localhost:25@a.example", "?tls=required"),
            ("smtp://127.0.0.1:tls=none@a.example", "?tls=required"),
        ] {
            assert_eq!(
                insisting(elsewhere).unwrap(),
                Url::parse(&format!("{elsewhere}{options}")).unwrap()
            );
        }
        assert_eq!(
            insisted("SMTP://a.example#tls=none"),
            "smtp://a.example?tls=required#tls=none"
        );
        assert_eq!(
            insisted("smtp://a.example?b=c#tls=none"),
            "smtp://a.example?b=c&tls=required#tls=none"
        );
    }
}
