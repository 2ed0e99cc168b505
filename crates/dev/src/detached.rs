//! `--detach` and `--down`: starts and stops the supervisor without a terminal.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, setsid};

use super::{
    Error, command::print, family, folders, interrupt, lock, process::last_lines, wait::wait_until,
};

/// Environment variable that identifies the background process.
const BACKGROUND_VARIABLE: &str = "LATCHKEY_DEV_DETACHED";
/// Timeout of a start in the background.
///
/// It exceeds the sum of all timeouts of stores and replicas, so that the supervisor reports its
/// error first.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// Timeout of a stop, in which the replicas drain and PostgreSQL writes a checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns whether this process is the background process, and detaches it from the terminal.
pub(super) fn enter_background() -> bool {
    let is_background = env::var_os(BACKGROUND_VARIABLE).is_some();
    if is_background {
        // Fails only for a group leader, which a spawned process isn't.
        let _ = setsid();
    }
    is_background
}

/// Starts this program in the background, waits until it is ready, and prints its output.
pub(super) fn start(directory: &Path) -> Result<(), Error> {
    let directory = folders::create_own(directory)?;
    if lock::find_holder(&directory).is_some() {
        return Err(lock::already_running_error(&directory));
    }
    interrupt::install_handlers();
    let log = directory.join("dev.log");
    let mut child = spawn_background_process(&log)?;
    let pid = Pid::from_child(&child);
    let is_ready =
        || lock::find_holder(&directory).is_some_and(|holder| holder.ready && holder.pid == pid);
    let (mut exited, mut ready) = (false, false);
    wait_until(READY_TIMEOUT, || {
        exited = child.try_wait().is_ok_and(|status| status.is_some());
        ready = !exited && is_ready();
        exited || ready || interrupt::is_requested()
    });
    if !ready {
        stop_failed_start(child);
        interrupt::check()?;
        return Err(start_error(&log));
    }
    print(&fs::read_to_string(&log).unwrap_or_default());
    Ok(())
}

fn spawn_background_process(log: &Path) -> Result<Child, Error> {
    let binary =
        env::current_exe().map_err(Error::cannot("find", Path::new("the program itself")))?;
    let file = File::create(log).map_err(Error::cannot("write", log))?;
    let copy = file.try_clone().map_err(Error::cannot("write", log))?;
    let mut command = Command::new(&binary);
    command
        .args(env::args_os().skip(1))
        .env(BACKGROUND_VARIABLE, "yes");
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    command.spawn().map_err(Error::cannot("start", &binary))
}

fn stop_failed_start(mut child: Child) {
    family::send_signal(Pid::from_child(&child), Signal::TERM);
    let _ = child.wait();
}

fn start_error(log: &Path) -> Error {
    Error::new(format!(
        "Latchkey didn't start. The end of {}:\n{}",
        log.display(),
        last_lines(log)
    ))
}

/// Stops the instance that holds the folder's lock, and prints the result.
pub(super) fn stop(directory: &Path) -> Result<(), Error> {
    folders::remove_leftovers();
    let folder = directory.display();
    let Some(holder) = lock::find_holder(directory) else {
        print(&format!("No instance runs with the data in {folder}.\n"));
        return Ok(());
    };
    let pid = holder.pid;
    family::send_signal(pid, Signal::TERM);
    if wait_until(STOP_TIMEOUT, || {
        lock::find_holder(directory).is_none_or(|holder| holder.pid != pid)
    }) {
        print(&format!(
            "Stopped Latchkey at {} (process {pid}). Its data stay in {folder}.\n",
            holder.url
        ));
        return Ok(());
    }
    let seconds = STOP_TIMEOUT.as_secs();
    let error = Error::new(format!(
        "process {pid} didn't exit within {seconds} seconds"
    ));
    Err(error.hint(format!("stop it:  kill -9 {pid}")))
}
