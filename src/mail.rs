//! Mail: renders a letter and hands it over. It knows no store, so retries are somebody else's story.

mod letters;
#[cfg(feature = "dev")]
mod mailbox;

use std::time::Duration;

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};
use uuid::Uuid;

pub use letters::Letter;
#[cfg(feature = "dev")]
pub use mailbox::{MailFolder, StoredMail};

use crate::{config::MailTransport, domain::host};

/// For connecting, and for each answer of the mail server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// For the whole of one mail: shorter than the back-off after which another replica would try the same one.
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
    #[cfg(feature = "dev")]
    Folder(MailFolder),
}

impl Mailer {
    /// Reads sender and server; nothing is connected yet.
    pub fn new(transport: &MailTransport, from: &str) -> Result<Mailer, MailSettingError> {
        let from = from.parse().map_err(|_| MailSettingError::From)?;
        let route = match transport {
            MailTransport::Off => Route::Off,
            MailTransport::Smtp(url) => Route::Smtp(smtp(url.expose()).map_err(|_| MailSettingError::Server)?),
            #[cfg(feature = "dev")]
            MailTransport::Mailbox(folder) => Route::Folder(MailFolder::new(folder.clone())),
        };
        Ok(Mailer { route, from })
    }

    /// Whether mails can leave at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.route, Route::Off)
    }

    /// The folder of the built-in mailbox, if that is where mails go.
    #[cfg(feature = "dev")]
    pub fn folder(&self) -> Option<&MailFolder> {
        match &self.route {
            Route::Folder(folder) => Some(folder),
            Route::Off | Route::Smtp(_) => None,
        }
    }

    /// Hands one letter to one recipient over. `id` becomes the message's id, so that a mail sent twice can be known.
    pub async fn send(&self, id: Uuid, recipient: &str, letter: &Letter) -> Result<(), MailError> {
        match &self.route {
            Route::Off => Err("mail is switched off".into()),
            Route::Smtp(server) => {
                let message = self.message(id, recipient, letter)?;
                tokio::time::timeout(LONGEST, server.send(message)).await?.map(drop).map_err(MailError::from)
            }
            #[cfg(feature = "dev")]
            Route::Folder(folder) => folder.store(id, recipient, letter).await,
        }
    }

    /// Whether the server said that it will never take this mail (an SMTP answer of the class 5yz).
    pub fn is_refused(error: &MailError) -> bool {
        error.downcast_ref::<lettre::transport::smtp::Error>().is_some_and(lettre::transport::smtp::Error::is_permanent)
    }

    fn message(&self, id: Uuid, recipient: &str, letter: &Letter) -> Result<Message, MailError> {
        let recipient: Address = recipient.parse()?;
        let message = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .subject(letter.subject)
            .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))?;
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

fn smtp(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    Ok(AsyncSmtpTransport::<Tokio1Executor>::from_url(&insisting(url))?.timeout(Some(TIMEOUT)).build())
}

/// Off this machine STARTTLS is insisted on, or whoever sits in between strips it and reads codes and the server's password.
/// Who wants less says so: `?tls=opportunistic`.
fn insisting(url: &str) -> String {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let is_told = options.split('&').any(|option| option.starts_with("tls="));
    let server = address.strip_prefix("smtp://").unwrap_or_default();
    if is_told || address.starts_with("smtps:") || is_open_and_here(server) {
        return url.to_owned();
    }
    format!("{address}?{options}{}tls=required", if options.is_empty() { "" } else { "&" })
}

/// A server of this machine that wants no password.
fn is_open_and_here(server: &str) -> bool {
    let authority = server.split('/').next().unwrap_or_default();
    let in_brackets = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let name = in_brackets.unwrap_or_else(|| authority.split(':').next().unwrap_or_default());
    !authority.contains('@') && host::is_this_machine(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_insisted_on_unless_the_server_is_here_or_the_address_says_otherwise() {
        for here in [
            "smtp://localhost",
            "smtp://127.0.0.1:25",
            "smtp://127.2.0.9:2525/",
            "smtp://[::1]:25",
            "smtps://mail.example.com",
        ] {
            assert_eq!(insisting(here), here);
        }
        for told in ["smtp://mail.example.com?tls=opportunistic", "smtp://u:p@mail.example.com?a=b&tls=required"] {
            assert_eq!(insisting(told), told);
        }
        for elsewhere in [
            "smtp://mail.example.com",
            "smtp://localhost.example.com:25",
            // Names and passwords that look like something else.
            "smtp://localhost:25@mail.example.com",
            "smtp://127.0.0.1:tls=none@mail.example.com",
            "smtp://john:secret@localhost",
            "smtp://[::1]:25@mail.example.com",
        ] {
            assert_eq!(insisting(elsewhere), format!("{elsewhere}?tls=required"));
        }
        assert_eq!(insisting("smtp://mail.example.com?a=b"), "smtp://mail.example.com?a=b&tls=required");
    }
}
