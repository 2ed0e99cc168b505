//! A real SMTP server (aiosmtpd, from Debian's `python3-aiosmtpd`), which stores received emails in
//! a folder.

pub mod scripted; // a server whose responses a test chooses

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    loopback::own_address,
    test_server::{TestServer, wait_until},
};

/// A mail server for one test. It stops on drop.
pub struct MailServer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl MailServer {
    pub async fn start() -> MailServer {
        let start = || {
            let address = own_address();
            let folder = tempfile::tempdir().expect("a folder");
            MailServer {
                child: start_process(address, &folder),
                address,
                folder,
            }
        };
        tokio::task::spawn_blocking(start)
            .await
            .expect("the mail server starts")
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn stop(&mut self) {
        self.child.kill().expect("a child process");
        self.child.wait().expect("a child process");
    }

    pub fn restart(&mut self) {
        self.child = start_process(self.address, &self.folder);
    }

    /// The raw emails to this address, in no particular order. `""` matches every address.
    pub fn emails_to(&self, recipient: &str) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("box/new");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let emails = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        emails
            .filter(|email| email.contains(&format!("X-RcptTo: {recipient}")))
            .collect()
    }

    /// Waits until this number of emails to the address has arrived.
    pub async fn wait_for(&self, recipient: &str, count: usize) -> Vec<String> {
        wait_until(&format!("{count} emails to {recipient}"), || async {
            self.emails_to(recipient).len() >= count
        })
        .await;
        self.emails_to(recipient)
    }

    /// Waits for an email with a code, and skips other emails.
    pub async fn code_for(&self, recipient: &str) -> String {
        let find_code = || {
            let emails = self.emails_to(recipient);
            emails.iter().find_map(|email| code(email))
        };
        wait_until(&format!("an email with a code to {recipient}"), || async {
            find_code().is_some()
        })
        .await;
        find_code().expect("a code")
    }

    /// Requests a password reset code, and waits for the email.
    pub async fn reset_code(&self, server: &TestServer, email: &str) -> String {
        server.forgot_password(email).await.is(202, "");
        self.code_for(email).await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_process(address: SocketAddr, folder: &TempDir) -> Child {
    let child = Command::new("/usr/bin/python3")
        .args([
            "-m",
            "aiosmtpd",
            "-n",
            "-l",
            &address.to_string(),
            "-c",
            "aiosmtpd.handlers.Mailbox",
        ])
        .arg(folder.path().join("box"))
        .stdout(Stdio::null())
        .spawn()
        .expect("python3-aiosmtpd is installed");
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the mail server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// The code in an email: five characters, a hyphen, and five characters on a separate line.
pub fn code(email: &str) -> Option<String> {
    let is_code = |line: &&str| {
        line.len() == 11
            && line.as_bytes()[5] == b'-'
            && line
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    email
        .lines()
        .map(str::trim)
        .find(is_code)
        .map(str::to_owned)
}

/// A link in an email to a page that a script fills with the values in the fragment.
#[derive(Debug)]
pub struct Link {
    /// The URL without the fragment.
    pub page: String,
    /// The names and the values in the fragment.
    pub values: Vec<(String, String)>,
}

/// Decodes the ASCII characters of the quoted-printable encoding.
pub fn decoded(email: &str) -> String {
    let joined = email.replace("=\r\n", "").replace("=\n", "");
    joined.replace("=3D", "=")
}

/// The link with a code in the text part of an email. It is alone on its line, so that mail clients
/// recognize its end.
pub fn link(email: &str) -> Option<Link> {
    let email = decoded(email);
    let line = email.lines().map(str::trim).find(|line| {
        line.starts_with("http") && line.contains("code=") && !line.contains(char::is_whitespace)
    })?;
    let (page, fragment) = line.split_once('#').expect("a fragment");
    let values = form_urlencoded::parse(fragment.as_bytes()).into_owned();
    Some(Link {
        page: page.to_owned(),
        values: values.collect(),
    })
}
