//! The local stack and `latchkey-dev`: real stores, real signals, no sleeps.
//!
//! The server that they start is `target/debug/latchkey`. `cargo test` in the root folder builds it;
//! after a change of the server, `cargo test -p latchkey-dev` alone runs the previous build.

mod command;
mod mailbox;
mod processes;
mod stores;
mod using;
mod with_stores;

use std::{
    env, fs,
    io::Read,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A temporary folder that takes with it what root's stacks keep elsewhere.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().expect("there is room"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for stack in [
            self.path().to_owned(),
            self.path().join(".latchkey"),
            self.path().join("data"),
        ] {
            if let Ok(data) = fs::read_to_string(stack.join("data-is-in")) {
                let _ = fs::remove_dir_all(data.trim_end());
            }
        }
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A run of `latchkey-dev` in a folder of its own, on ports that the system picks.
struct Dev {
    child: Child,
    folder: PathBuf,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Dev {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    fn start_with(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = latchkey_dev(folder, arguments);
        command
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary is built");
        let output = Arc::default();
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &output),
            collect(child.stderr.take().expect("piped"), &output),
        ];
        Self {
            child,
            folder: folder.to_owned(),
            output,
            readers,
        }
    }

    fn ready(folder: &Path, arguments: &[&str]) -> Self {
        Self::ready_with(folder, arguments, &[])
    }

    fn ready_with(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut dev = Self::start_with(folder, arguments, settings);
        eventually("the stack is ready", || {
            let ended = dev.child.try_wait().expect("it can be waited for");
            assert!(
                ended.is_none(),
                "ended with {ended:?}: {}",
                dev.last_words()
            );
            dev.lock_line(0) == Some(dev.child.id().to_string())
                && dev.lock_line(2).as_deref() == Some("ready")
        });
        dev
    }

    fn lock_line(&self, number: usize) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(".latchkey/lock")).ok()?;
        text.lines().nth(number).map(Into::into)
    }

    /// The output of it and its children so far.
    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no test panics while it reads"))
            .into_owned()
    }

    /// The whole output, after all processes have closed it.
    fn last_words(&mut self) -> String {
        self.readers
            .drain(..)
            .for_each(|reader| reader.join().expect("it reads to the end"));
        self.output()
    }

    /// The URLs of the servers in the banner.
    fn gateways(&self) -> Vec<String> {
        self.banner_values("server")
    }

    /// The values with this label in the banner.
    fn banner_values(&self, label: &str) -> Vec<String> {
        eventually("the banner is there", || self.output().contains("  stop "));
        let output = self.output();
        let lines = output.lines().filter_map(|line| line.strip_prefix("  "));
        lines
            .filter_map(|line| line.split_once(' ').filter(|(word, _)| *word == label))
            .map(|(_, value)| value.trim().into())
            .collect()
    }

    fn signal(&self, signal: &str) {
        processes::send(signal, self.child.id());
    }

    fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().expect("it was started");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("TERM");
            let _ = self.child.wait();
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static, output: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            output
                .lock()
                .expect("no test panics while it reads")
                .extend_from_slice(&bytes[..count]);
        }
    })
}

/// Runs a statement in a database of the given URL.
fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args([url, "-tAqc", statement])
        .output();
    let output = output.expect("`psql` is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// A loopback address that no other test of this binary has, so that a free port on it stays free.
/// Only Linux has more than one.
fn own_host() -> IpAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [high, low] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // The tests of the server use 127.2.
    Ipv4Addr::new(127, 3, high, low).into()
}

/// The folder of the programs that cargo built.
fn programs() -> &'static Path {
    let own = Path::new(env!("CARGO_BIN_EXE_latchkey-dev"));
    own.parent().expect("a folder holds it")
}

fn latchkey_dev(folder: &Path, arguments: &[&str]) -> Command {
    assert!(
        programs().join("latchkey").is_file(),
        "the server is not built: run `cargo build -p latchkey`, or `cargo test` in the root folder"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey-dev"));
    command.args(arguments).current_dir(folder);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default());
    // The ports are chosen long before somebody listens there.
    let listen = format!("{}:0", own_host());
    command
        .env("LATCHKEY_LISTEN", &listen)
        .env("LATCHKEY_METRICS_LISTEN", &listen)
        .env("LATCHKEY_DEV_MAILBOX_LISTEN", &listen);
    // As for all gateways of the tests: a busy machine is no broken store.
    let patience = [
        ("LATCHKEY_REDIS_TIMEOUT", "10s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "10s"),
        ("LATCHKEY_HASH_WAIT", "30s"),
    ];
    command.envs(patience);
    // Otherwise it follows the port, which is another one at each start, and the record keeps the
    // first.
    command.env("LATCHKEY_ISSUER", "http://127.0.0.1:8000");
    command
}
