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
    Error, command::say, family, folders, interrupt, lock, process::last_lines, wait::until,
};

/// Marks the second process, which stays.
const MARK: &str = "LATCHKEY_DEV_DETACHED";
/// Longer than the timeouts of all stores and replicas together, so that the error of the
/// supervisor comes first.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// A replica drains, PostgreSQL writes a checkpoint.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Whether this process is the one that stays. It leaves the terminal's session then.
pub(super) fn stays() -> bool {
    let stays = env::var_os(MARK).is_some();
    if stays {
        // Fails only for a group leader, which a spawned process isn't.
        let _ = setsid();
    }
    stays
}

/// Starts this program again, waits until it is ready, and prints its output.
pub(super) fn bring_up(directory: &Path) -> Result<(), Error> {
    let directory = folders::private(directory)?;
    if lock::holder(&directory).is_some() {
        return Err(lock::taken(&directory));
    }
    interrupt::install();
    let log = directory.join("dev.log");
    let mut child = start_once_more(&log)?;
    let pid = Pid::from_child(&child);
    let is_ready =
        || lock::holder(&directory).is_some_and(|holder| holder.ready && holder.pid == pid);
    let (mut ended, mut ready) = (false, false);
    until(READY_WITHIN, || {
        ended = child.try_wait().is_ok_and(|status| status.is_some());
        ready = !ended && is_ready();
        ended || ready || interrupt::requested()
    });
    if !ready {
        return Err(give_up(child, &log));
    }
    say(&fs::read_to_string(&log).unwrap_or_default());
    Ok(())
}

fn start_once_more(log: &Path) -> Result<Child, Error> {
    let binary =
        env::current_exe().map_err(Error::cannot("find", Path::new("the program itself")))?;
    let file = File::create(log).map_err(Error::cannot("write", log))?;
    let copy = file.try_clone().map_err(Error::cannot("write", log))?;
    let mut command = Command::new(&binary);
    command.args(env::args_os().skip(1)).env(MARK, "yes");
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    command.spawn().map_err(Error::cannot("start", &binary))
}

fn give_up(mut child: Child, log: &Path) -> Error {
    family::signal(Pid::from_child(&child), Signal::TERM);
    let _ = child.wait();
    Error::new(format!(
        "Latchkey didn't start. The end of {}:\n{}",
        log.display(),
        last_lines(log)
    ))
}

/// Stops the instance that holds the folder's lock, and prints the result.
pub(super) fn bring_down(directory: &Path) -> Result<(), Error> {
    folders::tidy();
    let place = directory.display();
    let Some(holder) = lock::holder(directory) else {
        say(&format!("No instance runs with the data in {place}.\n"));
        return Ok(());
    };
    let pid = holder.pid;
    family::signal(pid, Signal::TERM);
    if until(ENDS_WITHIN, || {
        lock::holder(directory).is_none_or(|holder| holder.pid != pid)
    }) {
        say(&format!(
            "Stopped Latchkey at {} (process {pid}). Its data stay in {place}.\n",
            holder.address
        ));
        return Ok(());
    }
    let seconds = ENDS_WITHIN.as_secs();
    let error = Error::new(format!(
        "process {pid} didn't exit within {seconds} seconds"
    ));
    Err(error.hint(format!("stop it with `kill -9 {pid}`")))
}
