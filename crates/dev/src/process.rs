use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{Error, family, interrupt, keeper, wait::until};

/// The delay before the next, less graceful stop signal.
const PATIENCE: Duration = Duration::from_secs(15);
/// Freezing and killing take effect within a scheduler's turn; more means that the machine is in
/// trouble.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Enough lines of a log to show a reason, few enough to be read.
const LAST_LINES: usize = 12;

/// What to start, kept so that it can be started again.
pub(super) struct Program {
    /// The name in error messages.
    pub name: String,
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Where the output goes; `None`: to ours.
    pub log: Option<PathBuf>,
    /// Signals that stop it, the most graceful first. The kernel sends that one if this process dies.
    pub stop_signals: &'static [Signal],
}

/// One child process. Dropping it stops it.
pub struct Process {
    program: Program,
    child: Child,
    /// True once the child was waited for: its number may then be somebody else's.
    reaped: bool,
    /// The first stop signal was sent. A second one can mean an immediate stop to the child.
    leaving: bool,
}

impl Process {
    pub(super) fn start(program: Program) -> Result<Self, Error> {
        let child = launch(&program)?;
        Ok(Self {
            program,
            child,
            reaped: false,
            leaving: false,
        })
    }

    /// After `kill` or `stop`.
    pub(super) fn start_again(&mut self) -> Result<(), Error> {
        self.stop();
        self.child = launch(&self.program)?;
        (self.reaped, self.leaving) = (false, false);
        Ok(())
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.reaped |= status.is_some();
        status
    }

    /// The error, if it exited unexpectedly.
    pub(super) fn exited(&mut self) -> Option<Error> {
        let status = self.ended()?;
        Some(self.exit_error(status))
    }

    /// The error about a child that exited unexpectedly.
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
        ready: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let mut status = None;
        let over = until(limit, || {
            status = self.ended();
            status.is_some() || interrupt::requested() || ready()
        });
        match status {
            Some(status) => Err(self.exit_error(status)),
            None if interrupt::requested() => Err(Error::new("interrupted")),
            None if over => Ok(()),
            None => Err(self.not_ready(limit)),
        }
    }

    /// For programs that do their work and end.
    pub(super) fn wait_for_success(&mut self, limit: Duration) -> Result<(), Error> {
        until(limit, || self.ended().is_some() || interrupt::requested());
        match self.ended() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.exit_error(status)),
            None => Err(self.not_ready(limit)),
        }
    }

    fn not_ready(&self, limit: Duration) -> Error {
        let log = self.program.log.as_deref();
        let log = log.map(|log| format!(". The end of {}:\n{}", log.display(), last_lines(log)));
        let (name, seconds) = (&self.program.name, limit.as_secs());
        Error::new(format!(
            "{name} wasn't ready after {seconds} seconds{}",
            log.unwrap_or_default()
        ))
        .hint("try again")
    }

    /// It and its children stand still: connections stay open, nothing is answered.
    pub fn pause(&self) {
        for pid in self.freeze() {
            family::signal(pid, Signal::STOP);
        }
    }

    /// They go on.
    pub fn resume(&self) {
        let Some(pid) = self.running() else { return };
        for pid in family::children_of(pid).into_iter().chain([pid]) {
            family::signal(pid, Signal::CONT);
        }
    }

    /// The power cut: returns when it and its children are gone, and with them what they held. It
    /// can be started again.
    pub fn kill(&mut self) {
        let family = self.freeze();
        for pid in &family {
            family::signal(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
        self.reaped = true;
        until(AT_ONCE, || {
            !family.iter().any(|pid| family::is_running(*pid))
        });
    }

    /// Sends the first signal and does not wait, so that several can end at the same time.
    pub(super) fn begin_stop(&mut self) {
        self.send_stop_signal(self.program.stop_signals[0]);
        self.leaving = true;
    }

    /// In peace: what is to be kept is written.
    pub fn stop(&mut self) {
        for signal in self.program.stop_signals {
            if self.ended().is_some() {
                return;
            }
            if !std::mem::take(&mut self.leaving) {
                self.send_stop_signal(*signal);
            }
            if until(PATIENCE, || self.ended().is_some()) {
                return;
            }
        }
        self.kill();
    }

    /// Resumed as well: who stands still cannot hear.
    fn send_stop_signal(&self, signal: Signal) {
        let Some(pid) = self.running() else { return };
        family::signal(pid, signal);
        self.resume();
    }

    /// Stops the parent first, so that no child is born after they were counted.
    fn freeze(&self) -> Vec<Pid> {
        let Some(pid) = self.running() else {
            return Vec::new();
        };
        family::signal(pid, Signal::STOP);
        until(AT_ONCE, || {
            family::is_stopped(pid) || !family::is_running(pid)
        });
        let mut family = family::children_of(pid);
        family.insert(0, pid);
        family
    }

    fn running(&self) -> Option<Pid> {
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
    let mut command = (program.command)();
    // A group of its own: Ctrl-C goes to the whole foreground group, and the order of the ending is
    // ours to choose.
    command.stdin(Stdio::null()).process_group(0);
    if let Some(log) = &program.log {
        let file = File::create(log).map_err(Error::cannot("write", log))?;
        let copy = file.try_clone().map_err(Error::cannot("write", log))?;
        command.stdout(file).stderr(copy);
    }
    let path = PathBuf::from(command.get_program());
    keeper::spawn(command, program.stop_signals[0]).map_err(Error::cannot("start", &path))
}

/// The end of a log, indented, for a message.
pub(super) fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let end = &lines[lines.len().saturating_sub(LAST_LINES)..];
    end.iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
