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

use crate::config::MailTransport;

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

/// A server on loopback, without a password that somebody could read on the way.
fn is_this_machine(url: &str) -> bool {
    let server = url.trim_start_matches("smtp://");
    let host = server.split(['/', '?']).next().unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == *name || host.starts_with(&format!("{name}:")))
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
    // Off this machine STARTTLS is insisted on, or whoever sits in between strips it and reads codes and the server's
    // password. Who wants less says so: `?tls=opportunistic`.
    let url = if url.starts_with("smtp://") && !url.contains("tls=") && !is_this_machine(url) {
        format!("{url}{}tls=required", if url.contains('?') { '&' } else { '?' })
    } else {
        url.to_owned()
    };
    Ok(AsyncSmtpTransport::<Tokio1Executor>::from_url(&url)?.timeout(Some(TIMEOUT)).build())
}
