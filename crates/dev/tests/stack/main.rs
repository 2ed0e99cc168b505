//! Tests of the local stack and `latchkey-dev` with real stores and signals.
//!
//! They start the server `target/debug/latchkey`, which `cargo test` in the root folder builds. If
//! the server has changed, `cargo test -p latchkey-dev` alone uses the previous build.

mod command;
mod first_hour;
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

/// Timeout of all waits, long enough for a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A temporary folder that also removes the data that root's stacks store in another folder.
struct TestFolder(TempDir);

impl TestFolder {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        for folder in [
            self.path().to_owned(),
            self.path().join(".latchkey"),
            self.path().join("data"),
        ] {
            if let Ok(data) = fs::read_to_string(folder.join("data-is-in")) {
                let _ = fs::remove_dir_all(data.trim_end());
            }
        }
    }
}

fn eventually(description: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "timeout after {WAIT_TIMEOUT:?}: {description}"
        );
        sleep(Duration::from_millis(10));
    }
}

/// A process of `latchkey-dev` with a separate folder, on ports that the system chooses.
struct DevProcess {
    child: Child,
    folder: PathBuf,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl DevProcess {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    fn start_with(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = latchkey_dev(folder, arguments);
        command
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("`latchkey-dev` starts");
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

    fn start_ready(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_ready_with(folder, arguments, &[])
    }

    fn start_ready_with(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut dev = Self::start_with(folder, arguments, settings);
        eventually("the stack is ready", || {
            let status = dev.child.try_wait().expect("an exit status or none");
            assert!(
                status.is_none(),
                "exited with {status:?}: {}",
                dev.final_output()
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

    /// Returns the output of the process and its children so far.
    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("the lock isn't poisoned")).into_owned()
    }

    /// Waits until all processes have closed the output, and returns it.
    fn final_output(&mut self) -> String {
        self.readers
            .drain(..)
            .for_each(|reader| reader.join().expect("the reader doesn't panic"));
        self.output()
    }

    /// Returns the URLs of the servers in the banner.
    fn servers(&self) -> Vec<String> {
        self.banner_values("server")
    }

    /// Returns the values with this label in the banner.
    fn banner_values(&self, label: &str) -> Vec<String> {
        eventually("the banner is printed", || {
            self.output().contains("  stop ")
        });
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
        self.child.wait().expect("an exit status");
    }
}

impl Drop for DevProcess {
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
                .expect("the lock isn't poisoned")
                .extend_from_slice(&bytes[..count]);
        }
    })
}

/// Runs a statement in a database of the given URL.
fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args([url, "-tAqc", statement])
        .output();
    let output = output.expect("`psql` runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// Returns a loopback address for one test, so that another test can't take a free port.
///
/// Only Linux has more than one loopback address.
fn unique_host() -> IpAddr {
    static NEXT_HOST: AtomicU16 = AtomicU16::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [high, low] = NEXT_HOST.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // The server's tests use 127.2.0.0/16.
    Ipv4Addr::new(127, 3, high, low).into()
}

/// Returns the folder of the programs that Cargo built.
fn program_folder() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_latchkey-dev"));
    program.parent().expect("a parent folder")
}

/// Creates a command that runs `latchkey-dev` with a minimal environment.
fn latchkey_dev(folder: &Path, arguments: &[&str]) -> Command {
    assert!(
        program_folder().join("latchkey").is_file(),
        "the server is not built: run `cargo build -p latchkey`, or `cargo test` in the root folder"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey-dev"));
    command.args(arguments).current_dir(folder);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default());
    // A unique host is necessary, because the replicas bind the chosen ports much later.
    let listen = format!("{}:0", unique_host());
    command
        .env("LATCHKEY_LISTEN", &listen)
        .env("LATCHKEY_METRICS_LISTEN", &listen)
        .env("LATCHKEY_DEV_MAILBOX_LISTEN", &listen);
    // Long timeouts, as in all tests, because a busy machine must not look like a failed store.
    let timeouts = [
        ("LATCHKEY_REDIS_TIMEOUT", "10s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "10s"),
        ("LATCHKEY_HASH_WAIT", "30s"),
    ];
    command.envs(timeouts);
    // The default issuer contains the port, which changes at each start. The database stores the
    // first issuer.
    command.env("LATCHKEY_ISSUER", "http://127.0.0.1:8000");
    command
}
