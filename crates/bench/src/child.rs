//! Child processes that stop when their owner is dropped, and when this process terminates for any
//! reason.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, interrupt};

/// A start takes about one second, and longer for a debug build on a busy machine.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of log lines in an error message.
const LOG_TAIL_LINES: usize = 8;

/// A server that prints its listening address to standard output.
pub struct Server {
    child: Child,
    log: PathBuf,
    /// The listening address.
    pub address: SocketAddr,
}

impl Server {
    /// Starts the server and waits until `find_address` finds its listening address in the output.
    pub fn start(
        mut command: Command,
        log: &Path,
        find_address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Outcome<Server> {
        let file = fs::File::create(log)?;
        // A process group of its own: Ctrl-C reaches the whole foreground group, but this process
        // stops its children in order.
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = spawn(&mut command)?;
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            log: log.to_owned(),
            address: unknown,
        };
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        loop {
            if let Some(found) = find_address(&fs::read_to_string(log)?) {
                server.address = found;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!(
                    "{:?} didn't start:\n{}",
                    command.get_program(),
                    server.log_tail()
                )
                .into());
            }
            interrupt::check()?;
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the last lines of the log.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A forced stop is safe, because the data of a run is discarded.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that terminates by itself.
pub struct OneShotProcess(Option<Child>);

impl OneShotProcess {
    /// Starts the program and captures its output.
    pub fn start(command: &mut Command) -> Outcome<OneShotProcess> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(OneShotProcess(Some(spawn(command)?)))
    }

    /// Waits for the program and returns its output, or an error if it failed.
    pub fn finish(mut self) -> Outcome<Output> {
        let child = self.0.take().expect("a running child");
        let output = child.wait_with_output()?;
        interrupt::check()?;
        if output.status.success() {
            return Ok(output);
        }
        let output = [output.stdout, output.stderr].concat();
        Err(format!(
            "a load generator failed: {}",
            String::from_utf8_lossy(&output).trim()
        )
        .into())
    }
}

impl Drop for OneShotProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(command: &mut Command) -> Outcome<Child> {
    kill_with_parent(command);
    let program = command.get_program().to_owned();
    command
        .spawn()
        .map_err(|error| format!("can't start {}: {error}", program.to_string_lossy()).into())
}

/// Makes the kernel kill the child when the thread that started it terminates. The main thread
/// starts all children.
#[cfg(target_os = "linux")]
fn kill_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    let prepare = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: the closure makes one system call and does not allocate, so it can run between fork
    // and exec.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(not(target_os = "linux"))]
fn kill_with_parent(_command: &mut Command) {}
