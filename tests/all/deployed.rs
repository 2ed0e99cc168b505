//! Real proxies, with the files of `deploy/`. Nothing in those is changed but addresses, and where
//! their parts lie.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{loopback::own_address, test_server::until};

/// Where a proxy is to run: a folder of its own, and an address.
pub struct Place {
    folder: TempDir,
    pub address: SocketAddr,
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            folder: tempfile::tempdir().expect("a folder"),
            address: own_address(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of `deploy/` with what is so in this test; each must be there.
    pub fn adapted(&self, name: &str, changes: &[(&str, String)]) -> PathBuf {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy")
            .join(name);
        let text = fs::read_to_string(shipped).expect("it is there");
        let text = changes.iter().fold(text, |text, (known, ours)| {
            assert!(text.contains(known), "{known} is not in {name}");
            text.replace(known, ours)
        });
        self.write(name, &text)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    /// Where nginx may leave what does not fit into memory: a line for its block `http`.
    pub fn nginx_folders(&self) -> String {
        let folder = self.folder().display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        kinds
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
            .concat()
    }

    /// nginx with this file. What is not about us is said beside it.
    pub fn nginx(&self, main: &Path) -> Command {
        // Else its workers would have an account that may not look into the folder.
        let account = if rustix::process::geteuid().is_root() {
            "user root; "
        } else {
            ""
        };
        let settings = format!("{account}daemon off; pid {}/pid;", self.folder().display());
        let mut command = Command::new(program("nginx"));
        command
            .arg("-p")
            .arg(self.folder())
            .args(["-e", "stderr", "-g", &settings, "-c"])
            .arg(main);
        command
    }

    pub fn haproxy(&self, main: &Path) -> Command {
        let mut command = Command::new(program("haproxy"));
        command.args(["-db", "-f"]).arg(main);
        command
    }

    /// Runs it until it listens. What it tells is kept.
    pub async fn run(self, mut command: Command) -> Proxy {
        let file = |name| fs::File::create(self.folder().join(name)).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("told"))
            .stderr(file("errors"))
            .spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{command:?}: {error}; ./dev install brings it"));
        let Place { folder, address } = self;
        let mut proxy = Proxy {
            address,
            child,
            folder,
        };
        until("the proxy listens", || {
            let ended = proxy.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "{command:?} ended: {}", proxy.errors());
            async { TcpStream::connect(address).await.is_ok() }
        })
        .await;
        proxy
    }
}

impl Proxy {
    /// What it complained about.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).expect("it is there")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to: killed, nginx would leave its workers behind.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Debian keeps some programs where only root looks.
pub fn program(name: &str) -> PathBuf {
    let kept = Path::new("/usr/sbin").join(name);
    if kept.exists() { kept } else { name.into() }
}
