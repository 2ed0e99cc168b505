//! Sends emails over SMTP (RFC 5321), with the commands and the TLS of lettre.
//!
//! Each command is sent on its own, so that the step of a failure is known: only a permanent
//! response about the recipient or the content drops an email. A connection is used again only after
//! a complete delivery. A failed or canceled command closes it, because its late response would be
//! taken for that of the next command.

mod failure;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use lettre::{
    Message,
    address::Envelope,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        commands::{Data, Mail, Noop, Rcpt},
        extension::{ClientId, Extension, MailParameter},
    },
};
use percent_encoding::percent_decode_str;
use url::Url;

pub use failure::{SmtpFailure, SmtpStep};

use crate::mail::MailError;

/// The default port of `smtp://` without TLS.
const SMTP_PORT: u16 = 25;

/// The default port of `smtp://` with STARTTLS (RFC 6409).
const SUBMISSION_PORT: u16 = 587;

/// The default port of `smtps://` (RFC 8314).
const SUBMISSIONS_PORT: u16 = 465;

/// The time limit for the TCP connection and the TLS handshake. RFC 5321 limits only the time until
/// the greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit for closing a connection with QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which an idle connection is kept. Servers close idle connections after minutes.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// An SMTP server, with its idle connections.
pub struct SmtpServer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    hello_name: ClientId,
    /// Returns the time limit of a step.
    time_limit: fn(SmtpStep) -> Duration,
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl SmtpServer {
    /// Parses the URL of a server: `smtp://` or `smtps://`, credentials, host, port, the name for
    /// EHLO as the path, and `tls=required` or `tls=opportunistic` as the query.
    ///
    /// # Errors
    /// If a part is missing or invalid.
    pub fn from_url(url: &Url) -> Result<SmtpServer, MailError> {
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("the URL has no host")?.to_owned();
        let tls_option = url.query_pairs().find(|(name, _)| name == "tls");
        let parameters = || TlsParameters::new(host.clone());
        let (tls, port) = match (url.scheme(), tls_option.as_ref().map(|(_, value)| &**value)) {
            ("smtp", None) => (Tls::None, SMTP_PORT),
            ("smtp", Some("required")) => (Tls::Required(parameters()?), SUBMISSION_PORT),
            ("smtp", Some("opportunistic")) => (Tls::Opportunistic(parameters()?), SUBMISSION_PORT),
            ("smtps", _) => (Tls::Wrapper(parameters()?), SUBMISSIONS_PORT),
            _other => return Err("the scheme or the parameter `tls` is unknown".into()),
        };
        let decode = |text| percent_decode_str(text).decode_utf8().map(String::from);
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decode(url.username())?, decode(password)?)),
            None => None,
        };
        let name = url.path().trim_matches('/');
        Ok(SmtpServer {
            port: url.port().unwrap_or(port),
            hello_name: match name {
                "" => ClientId::default(),
                name => ClientId::Domain(name.to_owned()),
            },
            host,
            tls,
            credentials,
            time_limit: SmtpStep::time_limit,
            idle: Mutex::default(),
        })
    }

    /// Sends an email.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn send(&self, message: &Message) -> Result<(), SmtpFailure> {
        let mut connection = match self.reuse_connection().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // After a failure, the connection is closed and not used again.
        if let Err(failure) = self.deliver(&mut connection, message).await {
            close(connection, &failure).await;
            return Err(failure);
        }
        self.idle
            .lock()
            .expect("no holder panics")
            .push(IdleConnection {
                connection,
                since: Instant::now(),
            });
        Ok(())
    }

    /// Connects, encrypts the connection, and signs in.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn check(&self) -> Result<(), SmtpFailure> {
        let mut connection = self.connect().await?;
        let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
        Ok(())
    }

    /// Returns an idle connection that still works.
    async fn reuse_connection(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut idle = self.idle.lock().expect("no holder panics").pop()?;
            if idle.since.elapsed() > MAX_IDLE_TIME {
                continue;
            }
            let noop = idle.connection.command(Noop);
            if let Ok(Ok(_)) = tokio::time::timeout(QUIT_TIMEOUT, noop).await {
                return Some(idle.connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpFailure> {
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _other => None,
        };
        let connecting = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT_TIMEOUT),
            &self.hello_name,
            wrapper,
            None,
        );
        let mut connection = self.run(SmtpStep::Connect, connecting).await?;
        let starttls = match &self.tls {
            Tls::Required(parameters) => Some(parameters),
            Tls::Opportunistic(parameters) if connection.can_starttls() => Some(parameters),
            _other => None,
        };
        if let Some(parameters) = starttls {
            let upgrade = connection.starttls(parameters.clone(), &self.hello_name);
            self.run(SmtpStep::Encrypt, upgrade).await?;
        }
        if let Some(credentials) = &self.credentials {
            let auth = connection.auth(DEFAULT_MECHANISMS, credentials);
            self.run(SmtpStep::Authenticate, auth).await?;
        }
        Ok(connection)
    }

    /// Sends one email over a connection (RFC 5321 section 3.3).
    async fn deliver(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &Message,
    ) -> Result<(), SmtpFailure> {
        let envelope = message.envelope();
        let supports_utf8 = connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight);
        let parameters = match supports_utf8 && has_non_ascii_address(envelope) {
            true => vec![MailParameter::SmtpUtfEight],
            false => vec![],
        };
        let sender = Mail::new(envelope.from().cloned(), parameters);
        self.run(SmtpStep::Sender, connection.command(sender))
            .await?;
        for recipient in envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), vec![]);
            self.run(SmtpStep::Recipient, connection.command(recipient))
                .await?;
        }
        self.run(SmtpStep::Data, connection.command(Data)).await?;
        let content = message.formatted();
        self.run(SmtpStep::Content, connection.message(&content))
            .await?;
        Ok(())
    }

    /// Runs a step within its time limit.
    async fn run<T>(
        &self,
        step: SmtpStep,
        task: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, SmtpFailure> {
        step.run(task, (self.time_limit)(step)).await
    }
}

fn has_non_ascii_address(envelope: &Envelope) -> bool {
    let addresses = envelope.from().into_iter().chain(envelope.to());
    addresses
        .map(AsRef::<str>::as_ref)
        .any(|address| !address.is_ascii())
}

/// Closes a connection, with QUIT if the server has responded to the last command.
async fn close(mut connection: AsyncSmtpConnection, failure: &SmtpFailure) {
    if failure.is_response() {
        let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lettre::message::Mailbox;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
        net::{TcpListener, TcpStream},
        sync::{Notify, mpsc},
    };

    use super::*;

    /// The commands that a server receives, with the number of the connection.
    type Commands = mpsc::UnboundedSender<(usize, String)>;

    /// Serves a connection. On the first one, the response to RCPT waits until it is released.
    async fn serve(
        stream: TcpStream,
        number: usize,
        released: Arc<Notify>,
        commands: Commands,
    ) -> std::io::Result<()> {
        let mut stream = BufStream::new(stream);
        stream.write_all(b"220 ready\r\n").await?;
        let mut is_content = false;
        loop {
            stream.flush().await?;
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let response = match line.get(..4).unwrap_or_default() {
                ".\r\n" => "250 queued\r\n",
                _content if is_content && line != ".\r\n" => continue,
                "DATA" => "354 go ahead\r\n",
                _other => "250 fine\r\n",
            };
            is_content = line.starts_with("DATA");
            let _ = commands.send((number, line.trim_end().to_owned()));
            if number == 0 && line.starts_with("RCPT") {
                released.notified().await;
            }
            stream.write_all(response.as_bytes()).await?;
        }
    }

    fn message(recipient: &str) -> Message {
        let address = |text: &str| Mailbox::new(None, text.parse().unwrap());
        Message::builder()
            .from(address("no-reply@example.com"))
            .to(address(recipient))
            .body(format!("To {recipient}"))
            .unwrap()
    }

    /// A response that arrives after the time limit must not be taken for that of the next command.
    #[tokio::test]
    async fn connection_is_not_used_after_a_slow_response() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let (released, (sender, mut received)) =
            (Arc::new(Notify::new()), mpsc::unbounded_channel());
        let notify = released.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, number, notify.clone(), sender.clone()));
            }
        });
        let server = SmtpServer {
            time_limit: |step| match step {
                SmtpStep::Recipient => Duration::from_millis(200),
                other => other.time_limit(),
            },
            ..server(&url)
        };
        let failure = server.send(&message("john@example.com")).await.unwrap_err();
        assert!(failure.concerns_only_this_email(), "{failure}");
        assert!(!failure.is_rejection_of_email());
        released.notify_one();
        for recipient in ["john@example.com", "mary@example.com"] {
            let patient = SmtpServer {
                time_limit: SmtpStep::time_limit,
                idle: Mutex::new(std::mem::take(&mut server.idle.lock().unwrap())),
                ..SmtpServer::from_url(&Url::parse(&url).unwrap()).unwrap()
            };
            patient.send(&message(recipient)).await.unwrap();
            *server.idle.lock().unwrap() = patient.idle.into_inner().unwrap();
        }
        let mut recipients = Vec::new();
        while let Ok((number, command)) = received.try_recv() {
            if let Some(recipient) = command.strip_prefix("RCPT TO:<") {
                recipients.push((number, recipient.trim_end_matches('>').to_owned()));
            }
        }
        // The second connection is used for both emails.
        let expected = [
            (0, "john@example.com"),
            (1, "john@example.com"),
            (1, "mary@example.com"),
        ];
        let expected = expected.map(|(number, recipient)| (number, recipient.to_owned()));
        assert_eq!(recipients, expected);
    }

    fn server(url: &str) -> SmtpServer {
        SmtpServer::from_url(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn url_contains_host_port_tls_and_credentials() {
        let plain = server("smtp://127.0.0.1");
        assert_eq!((plain.host.as_str(), plain.port), ("127.0.0.1", SMTP_PORT));
        assert!(matches!(plain.tls, Tls::None) && plain.credentials.is_none());
        let submission = server("smtp://a%40b:p%2Fq@mail.example?tls=required");
        assert_eq!(submission.port, SUBMISSION_PORT);
        assert!(matches!(submission.tls, Tls::Required(_)));
        let credentials = Credentials::new("a@b".into(), "p/q".into());
        assert_eq!(submission.credentials, Some(credentials));
        let opportunistic = server("smtp://mail.example:2525/app.example?tls=opportunistic");
        assert_eq!(opportunistic.port, 2525);
        assert!(matches!(opportunistic.tls, Tls::Opportunistic(_)));
        assert_eq!(
            opportunistic.hello_name,
            ClientId::Domain("app.example".into())
        );
        let wrapper = server("smtps://mail.example");
        assert_eq!(wrapper.port, SUBMISSIONS_PORT);
        assert!(matches!(wrapper.tls, Tls::Wrapper(_)));
    }

    #[test]
    fn invalid_url_is_rejected() {
        for url in [
            "smtp:///",
            "smtp://mail.example?tls=none",
            "http://mail.example",
            "smtp://john:%ff@mail.example",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(SmtpServer::from_url(&url).is_err(), "{url}");
        }
    }
}
