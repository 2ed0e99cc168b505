//! `--detach` and `--down`: the supervisor without a terminal, and its end.

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

/// Tells the second process that it is the one to stay.
const MARK: &str = "LATCHKEY_DEV_DETACHED";
/// More than the supervisor gives its stores and replicas together, so that its own sentence comes
/// first.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// A replica drains, PostgreSQL writes a checkpoint.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Whether this process is the one that stays. It leaves the terminal's session then.
pub(super) fn stays() -> bool {
    let stays = env::var_os(MARK).is_some();
    if stays {
        // Fails only for the leader of a group, and who was spawned leads none.
        let _ = setsid();
    }
    stays
}

/// Starts this program once more, waits until it is ready, and shows what it said.
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
        "Latchkey did not start. The end of {}:\n{}",
        log.display(),
        last_lines(log)
    ))
}

/// Ends the run that holds the folder's lock, and says what it did.
pub(super) fn bring_down(directory: &Path) -> Result<(), Error> {
    folders::tidy();
    let place = directory.display();
    let Some(holder) = lock::holder(directory) else {
        say(&format!("Nothing runs with the data in {place}.\n"));
        return Ok(());
    };
    let pid = holder.pid;
    family::signal(pid, Signal::TERM);
    if until(ENDS_WITHIN, || {
        lock::holder(directory).is_none_or(|holder| holder.pid != pid)
    }) {
        say(&format!(
            "Stopped Latchkey at {} (process {pid}); its data stay in {place}.\n",
            holder.address
        ));
        return Ok(());
    }
    let seconds = ENDS_WITHIN.as_secs();
    Err(Error::new(format!(
        "Process {pid} did not end within {seconds} seconds; end it with `kill -9 {pid}`."
    )))
}
