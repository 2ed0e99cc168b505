//! Processes that end with the value that started them, and with this process whatever ends it.

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

/// A start takes a second; a debug build on a busy machine takes more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Lines of a log that tell why.
const LAST_LINES: usize = 8;

/// A server that says on its standard output where it listens.
pub struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts it; `address` finds it in what it has said so far.
    pub fn start(
        mut command: Command,
        log: &Path,
        address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Outcome<Server> {
        let file = fs::File::create(log)?;
        // A group of its own: Ctrl-C goes to the whole group in front, and the order of the ending
        // is ours.
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = spawn(&mut command)?;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            log: log.to_owned(),
            address: nowhere,
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(found) = address(&fs::read_to_string(log)?) {
                server.address = found;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!(
                    "{:?} didn't start:\n{}",
                    command.get_program(),
                    server.last_words()
                )
                .into());
            }
            interrupt::check()?;
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that anybody needs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that does its work and ends by itself.
pub struct Run(Option<Child>);

impl Run {
    /// Starts it; what it says is kept.
    pub fn start(command: &mut Command) -> Outcome<Run> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Run(Some(spawn(command)?)))
    }

    /// What it said, once it has ended well.
    pub fn finish(mut self) -> Outcome<Output> {
        let child = self.0.take().expect("it is finished once");
        let output = child.wait_with_output()?;
        interrupt::check()?;
        if output.status.success() {
            return Ok(output);
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!(
            "a load generator failed: {}",
            String::from_utf8_lossy(&said).trim()
        )
        .into())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(command: &mut Command) -> Outcome<Child> {
    end_with_us(command);
    let program = command.get_program().to_owned();
    command
        .spawn()
        .map_err(|error| format!("can't start {}: {error}", program.to_string_lossy()).into())
}

/// The kernel ends a child when the thread that started it ends; all are started by the first
/// thread.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    let prepare = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: one system call and no allocation, which is what may be done between fork and exec.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_command: &mut Command) {}
