//! A real SMTP server (aiosmtpd, from Debian's `python3-aiosmtpd`), which keeps what it gets in a
//! folder.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    loopback::own_address,
    test_server::{TestServer, until},
};

/// A mail server of one test. It ends with this value.
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
                child: run(address, &folder),
                address,
                folder,
            }
        };
        tokio::task::spawn_blocking(start).await.expect("it starts")
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn stop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    pub fn start_again(&mut self) {
        self.child = run(self.address, &self.folder);
    }

    /// All mails to this address, as they were sent, in no order.
    pub fn mails_to(&self, recipient: &str) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("box/new");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        texts
            .filter(|text| text.contains(&format!("X-RcptTo: {recipient}")))
            .collect()
    }

    /// Waits for so many mails to this address.
    pub async fn wait_for(&self, recipient: &str, count: usize) -> Vec<String> {
        until(&format!("{count} mails to {recipient}"), || async {
            self.mails_to(recipient).len() >= count
        })
        .await;
        self.mails_to(recipient)
    }

    /// Waits for a mail with a code.
    pub async fn code_for(&self, recipient: &str) -> String {
        let mails = self.wait_for(recipient, 1).await;
        mails.iter().find_map(|mail| code(mail)).expect("a code")
    }

    /// Requests a code for a new password, and waits for the mail with it.
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

fn run(address: SocketAddr, folder: &TempDir) -> Child {
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

/// The code in a mail: five characters, a hyphen, five characters, on a line of its own.
pub fn code(mail: &str) -> Option<String> {
    let is_code = |line: &&str| {
        line.len() == 11
            && line.as_bytes()[5] == b'-'
            && line
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    mail.lines().map(str::trim).find(is_code).map(str::to_owned)
}
