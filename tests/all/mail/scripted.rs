//! An SMTP server whose responses a test chooses.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The line that stands for the complete content of an email.
pub const CONTENT: &str = "CONTENT";

/// A response to a command.
pub enum Reply {
    /// The usual response.
    Accept,
    /// This response, for example `550 no such mailbox`.
    Line(&'static str),
    /// The usual response, after the test has released it.
    Hold,
}

/// Returns the reply to a command, or to [`CONTENT`].
type Script = dyn Fn(&str) -> Reply + Send + Sync;

/// The server. It ends with the runtime of the test.
pub struct ScriptedSmtp {
    pub address: std::net::SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Mutex<Arc<Script>>,
    emails: Mutex<Vec<ReceivedEmail>>,
    released: watch::Sender<bool>,
}

/// An email that the server has accepted.
#[derive(Debug, Clone)]
pub struct ReceivedEmail {
    pub recipient: String,
    pub content: String,
}

impl ScriptedSmtp {
    pub async fn start(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> ScriptedSmtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(script)),
            emails: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, shared.clone()));
            }
        });
        ScriptedSmtp { address, state }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Replaces the script.
    pub fn follow(&self, script: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.state.script.lock().expect("no holder panics") = Arc::new(script);
    }

    /// Sends all responses that are held.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// The accepted emails to this address.
    pub fn emails_to(&self, recipient: &str) -> Vec<ReceivedEmail> {
        let emails = self.state.emails.lock().expect("no holder panics");
        emails
            .iter()
            .filter(|email| email.recipient == recipient)
            .cloned()
            .collect()
    }
}

async fn serve(client: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    let mut client = BufStream::new(client);
    let mut recipient = String::new();
    send(&mut client, "220 ready").await?;
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(address) = line.strip_prefix("RCPT TO:<") {
            recipient = address.trim_end_matches('>').to_owned();
        }
        let accepted = match line.get(..4).unwrap_or_default() {
            "EHLO" => "250-localhost\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 fine",
            "DATA" => "354 go ahead",
            "QUIT" => "221 goodbye",
            _other => "250 fine",
        };
        if reply(&mut client, &state, line, accepted).await? && line == "DATA" {
            let content = read_content(&mut client).await?;
            if reply(&mut client, &state, CONTENT, "250 queued").await? {
                let mut emails = state.emails.lock().expect("no holder panics");
                emails.push(ReceivedEmail {
                    recipient: recipient.clone(),
                    content,
                });
            }
        }
    }
}

/// Responds to a line, and returns whether the server has accepted it.
async fn reply(
    client: &mut BufStream<TcpStream>,
    state: &State,
    line: &str,
    accepted: &str,
) -> std::io::Result<bool> {
    let script = state.script.lock().expect("no holder panics").clone();
    let response = match script(line) {
        Reply::Accept => accepted,
        Reply::Line(text) => text,
        Reply::Hold => {
            let mut released = state.released.subscribe();
            let _ = released.wait_for(|is_released| *is_released).await;
            accepted
        }
    };
    send(client, response).await?;
    Ok(response == accepted)
}

async fn send(client: &mut BufStream<TcpStream>, response: &str) -> std::io::Result<()> {
    client.write_all(response.as_bytes()).await?;
    client.write_all(b"\r\n").await?;
    client.flush().await
}

async fn read_content(client: &mut BufStream<TcpStream>) -> std::io::Result<String> {
    let mut content = String::new();
    while !content.ends_with("\r\n.\r\n") {
        if client.read_line(&mut content).await? == 0 {
            break;
        }
    }
    Ok(content)
}
