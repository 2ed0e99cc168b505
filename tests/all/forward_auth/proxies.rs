//! The real proxies, with the files of `deploy/`. Nothing in those is changed but addresses, and where their parts lie.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::gateway::until;

/// A proxy that we run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    HaProxy,
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Proxy {
    /// Runs it in front of an application, and until it listens.
    pub async fn start(kind: Kind, gateway: SocketAddr, application: SocketAddr) -> Proxy {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let place = Place { folder: folder.path(), address, gateway, application };
        let mut command = match kind {
            Kind::Nginx => place.nginx(),
            Kind::Caddy => place.caddy(),
            Kind::HaProxy => place.haproxy(),
        };
        let (quiet, errors) = (Stdio::null, fs::File::create(folder.path().join("errors")).expect("a file"));
        let child = command.stdin(quiet()).stdout(quiet()).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{kind:?}: {error}; ./dev install brings it"));
        let proxy = Proxy { address, child, _folder: folder };
        until(&format!("{kind:?} listens"), || async { TcpStream::connect(address).await.is_ok() }).await;
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to: killed, nginx would leave its workers behind.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// One that is free now. Nobody else is likely to take it within a moment: the system hands them out in turn.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Where a proxy runs, and between whom.
struct Place<'a> {
    folder: &'a Path,
    address: SocketAddr,
    gateway: SocketAddr,
    application: SocketAddr,
}

impl Place<'_> {
    /// A file of `deploy/` with what is so in this test; each must be there.
    fn adapted(&self, name: &str, changes: &[(&str, String)]) -> PathBuf {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
        let text = fs::read_to_string(shipped).expect("it is there");
        let text = changes.iter().fold(text, |text, (known, ours)| {
            assert!(text.contains(known), "{known} is not in {name}");
            text.replace(known, ours)
        });
        self.write(name, &text)
    }

    /// Whom a proxy stands between.
    fn neighbours(&self) -> [(&'static str, String); 2] {
        [("gateway:8000", self.gateway.to_string()), ("application:9000", self.application.to_string())]
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    /// As on a server, where a file of its own has what is not about us.
    fn nginx(&self) -> Command {
        let [gateway, application] = self.neighbours();
        let listen = ("listen 8080", format!("listen {}", self.address));
        let site = self.adapted("nginx-forward-auth.conf", &[gateway, application, listen]);
        let folder = self.folder.display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};")).concat();
        // Else its workers would have an account that may not look into the folder.
        let account = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let http = format!("access_log off; {folders} include {};", site.display());
        let main = format!("{account} worker_processes 1; pid {folder}/pid; events {{}} http {{ {http} }}");
        let main = self.write("nginx.conf", &main);
        let mut command = Command::new(program("nginx"));
        command.arg("-p").arg(self.folder).args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(main);
        command
    }

    fn caddy(&self) -> Command {
        let [gateway, application] = self.neighbours();
        let listen = ("app.example.com {", format!("http://app.example.com:{} {{", self.address.port()));
        let site = self.adapted("Caddyfile", &[gateway, application, listen]);
        let main = format!("{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}}\nimport {}\n", site.display());
        let main = self.write("Main", &main);
        let mut command = Command::new(program("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(main);
        for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(home, self.folder);
        }
        command
    }

    fn haproxy(&self) -> Command {
        let [gateway, application] = self.neighbours();
        let script = self.adapted("haproxy.lua", &[gateway]);
        let listen = ("bind :8080", format!("bind {}", self.address));
        let script = ("/etc/haproxy/haproxy.lua", script.display().to_string());
        let main = self.adapted("haproxy.cfg", &[application, listen, script]);
        let mut command = Command::new(program("haproxy"));
        command.args(["-db", "-f"]).arg(main);
        command
    }
}

/// Debian keeps some programs where only root looks.
fn program(name: &str) -> PathBuf {
    let kept = Path::new("/usr/sbin").join(name);
    if kept.exists() { kept } else { name.into() }
}
