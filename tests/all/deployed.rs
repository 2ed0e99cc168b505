//! Runs real proxies with the files of `deploy/`, in which only addresses and paths are replaced.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{loopback::own_address, test_server::wait_until};

/// The folder and the address for one proxy.
pub struct Place {
    folder: TempDir,
    pub address: SocketAddr,
}

/// A running proxy. Dropping this value stops the proxy.
pub struct Proxy {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            folder: tempfile::tempdir().expect("a temporary folder"),
            address: own_address(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of `deploy/` with replacements. Each replaced text must occur in the file.
    pub fn adapted(&self, name: &str, changes: &[(&str, String)]) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy")
            .join(name);
        let text = fs::read_to_string(source).expect("a file of `deploy/`");
        let text = changes.iter().fold(text, |text, (old, new)| {
            assert!(text.contains(old), "{name} doesn't contain {old}");
            text.replace(old, new)
        });
        self.write(name, &text)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, text).expect("a writable folder");
        path
    }

    /// Returns the directives for the `http` block that set nginx's folders for temporary files.
    pub fn nginx_folders(&self) -> String {
        let folder = self.folder().display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        kinds
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
            .concat()
    }

    /// Returns the command for nginx with this file.
    ///
    /// The command line contains the directives that only the test needs.
    pub fn nginx(&self, main: &Path) -> Command {
        // Without this directive, workers of a root process can't access the folder.
        let user = if rustix::process::geteuid().is_root() {
            "user root; "
        } else {
            ""
        };
        let settings = format!("{user}daemon off; pid {}/pid;", self.folder().display());
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

    /// Starts the proxy and waits until it listens. Its output is written to files in the folder.
    pub async fn run(self, mut command: Command) -> Proxy {
        let file = |name| fs::File::create(self.folder().join(name)).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("output"))
            .stderr(file("errors"))
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; run ./dev install"));
        let Place { folder, address } = self;
        let mut proxy = Proxy {
            address,
            child,
            folder,
        };
        wait_until("the proxy listens", || {
            let exit_status = proxy.child.try_wait().expect("a child process");
            assert!(
                exit_status.is_none(),
                "{command:?} exited: {}",
                proxy.errors()
            );
            async { TcpStream::connect(address).await.is_ok() }
        })
        .await;
        proxy
    }
}

impl Proxy {
    /// Returns the standard error of the proxy.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).expect("the error file")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SIGTERM, because workers of nginx would survive a SIGKILL of the parent process.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Returns the path of a program. Debian installs some into `/usr/sbin`, which is only in root's
/// `PATH`.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.exists() { path } else { name.into() }
}
