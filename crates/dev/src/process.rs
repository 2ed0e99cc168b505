//! One child process, its log, and its end.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{Error, family, interrupt, spawner, wait::wait_until};

/// Delay before the next, less graceful stop signal.
const STOP_SIGNAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout for the effect of SIGSTOP and SIGKILL, which take effect almost immediately.
const SIGNAL_EFFECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of log lines in an error.
const MAX_LOG_LINES: usize = 12;

/// A program, with everything that is needed to start it again.
pub(super) struct Program {
    /// The name in error messages.
    pub name: String,
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    /// File for the output; `None` inherits the output of the supervisor.
    pub log: Option<PathBuf>,
    /// Signals that stop the program, the most graceful first.
    ///
    /// The kernel sends the first one if the supervisor exits.
    pub stop_signals: &'static [Signal],
}

/// A child process, which is stopped on drop.
pub struct Process {
    program: Program,
    child: Child,
    /// Whether the exit status was read; another process can then reuse the process ID.
    reaped: bool,
    /// Whether the first stop signal was sent.
    ///
    /// It must not be sent twice, because a program can treat the second one as an immediate stop.
    stop_signal_sent: bool,
}

impl Process {
    pub(super) fn start(program: Program) -> Result<Self, Error> {
        let child = launch(&program)?;
        Ok(Self {
            program,
            child,
            reaped: false,
            stop_signal_sent: false,
        })
    }

    /// Stops the process if it is running, and starts it again.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        self.child = launch(&self.program)?;
        (self.reaped, self.stop_signal_sent) = (false, false);
        Ok(())
    }

    /// Returns the process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status if the process has exited.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.reaped |= status.is_some();
        status
    }

    /// Returns an error if the process has exited.
    pub(super) fn exited(&mut self) -> Option<Error> {
        let status = self.exit_status()?;
        Some(self.exit_error(status))
    }

    /// Creates the error of a process that exited unexpectedly.
    fn exit_error(&self, status: ExitStatus) -> Error {
        let reason = match &self.program.log {
            Some(log) => format!(". The end of {}:\n{}", log.display(), last_lines(log)),
            None => ", its output is above".into(),
        };
        Error::new(format!("{} exited ({status}){reason}", self.program.name))
    }

    pub(super) fn wait_until_ready(
        &mut self,
        limit: Duration,
        is_ready: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let mut status = None;
        let is_done = wait_until(limit, || {
            status = self.exit_status();
            status.is_some() || interrupt::is_requested() || is_ready()
        });
        match status {
            Some(status) => Err(self.exit_error(status)),
            None => {
                interrupt::check()?;
                if is_done {
                    Ok(())
                } else {
                    Err(self.timeout_error(limit))
                }
            }
        }
    }

    /// Waits for a program that exits by itself.
    pub(super) fn wait_for_success(&mut self, limit: Duration) -> Result<(), Error> {
        wait_until(limit, || {
            self.exit_status().is_some() || interrupt::is_requested()
        });
        match self.exit_status() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.exit_error(status)),
            None => {
                interrupt::check()?;
                Err(self.timeout_error(limit))
            }
        }
    }

    fn timeout_error(&self, limit: Duration) -> Error {
        let log = self.program.log.as_deref();
        let log = log.map(|log| format!(". The end of {}:\n{}", log.display(), last_lines(log)));
        let (name, seconds) = (&self.program.name, limit.as_secs());
        Error::new(format!(
            "{name} wasn't ready after {seconds} seconds{}",
            log.unwrap_or_default()
        ))
        .hint("try again")
    }

    /// Pauses the process and its children: connections stay open, but requests get no response.
    pub fn pause(&self) {
        for pid in self.stop_and_list_family() {
            family::send_signal(pid, Signal::STOP);
        }
    }

    /// Resumes the process and its children.
    pub fn resume(&self) {
        let Some(pid) = self.running_pid() else {
            return;
        };
        for pid in family::children_of(pid).into_iter().chain([pid]) {
            family::send_signal(pid, Signal::CONT);
        }
    }

    /// Kills the process and its children, and waits until they have exited.
    ///
    /// Like a power failure, this gives the process no chance to write its data. The process can be
    /// started again.
    pub fn kill(&mut self) {
        let family = self.stop_and_list_family();
        for pid in &family {
            family::send_signal(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
        self.reaped = true;
        wait_until(SIGNAL_EFFECT_TIMEOUT, || {
            !family.iter().any(|pid| family::is_running(*pid))
        });
    }

    /// Sends the first stop signal without waiting, so that several processes stop concurrently.
    pub(super) fn begin_stop(&mut self) {
        self.send_stop_signal(self.program.stop_signals[0]);
        self.stop_signal_sent = true;
    }

    /// Stops the process gracefully, so that it can write its data, or kills it after the timeouts.
    pub fn stop(&mut self) {
        for signal in self.program.stop_signals {
            if self.exit_status().is_some() {
                return;
            }
            if !std::mem::take(&mut self.stop_signal_sent) {
                self.send_stop_signal(*signal);
            }
            if wait_until(STOP_SIGNAL_TIMEOUT, || self.exit_status().is_some()) {
                return;
            }
        }
        self.kill();
    }

    /// Sends a signal and resumes the process, because a paused process can't handle signals.
    fn send_stop_signal(&self, signal: Signal) {
        let Some(pid) = self.running_pid() else {
            return;
        };
        family::send_signal(pid, signal);
        self.resume();
    }

    /// Sends SIGSTOP to the process, and returns its ID and those of its children.
    ///
    /// The process is stopped first, so that it can't start children after they are listed.
    fn stop_and_list_family(&self) -> Vec<Pid> {
        let Some(pid) = self.running_pid() else {
            return Vec::new();
        };
        family::send_signal(pid, Signal::STOP);
        wait_until(SIGNAL_EFFECT_TIMEOUT, || {
            family::is_stopped(pid) || !family::is_running(pid)
        });
        let mut family = family::children_of(pid);
        family.insert(0, pid);
        family
    }

    fn running_pid(&self) -> Option<Pid> {
        if self.reaped {
            None
        } else {
            Some(Pid::from_child(&self.child))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(program: &Program) -> Result<Child, Error> {
    interrupt::check()?;
    let mut command = (program.command)();
    // A separate process group doesn't receive Ctrl-C, so that the supervisor determines the order
    // in which processes stop.
    command.stdin(Stdio::null()).process_group(0);
    if let Some(log) = &program.log {
        let file = File::create(log).map_err(Error::cannot("write", log))?;
        let copy = file.try_clone().map_err(Error::cannot("write", log))?;
        command.stdout(file).stderr(copy);
    }
    let path = PathBuf::from(command.get_program());
    spawner::spawn(command, program.stop_signals[0]).map_err(Error::cannot("start", &path))
}

/// Returns the last lines of a log, indented, for an error.
pub(super) fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(MAX_LOG_LINES)..];
    last.iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
