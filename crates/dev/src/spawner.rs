//! One thread that starts all children and runs as long as the process.
//!
//! Linux sends the parent-death signal when the parent *thread* exits, not the process. Tests start
//! the stack in short-lived threads, whose children would be killed with the test.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

use rustix::process::Signal;

struct SpawnRequest {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

static SPAWNER: OnceLock<mpsc::Sender<SpawnRequest>> = OnceLock::new();

/// Starts the command so that it receives the signal when this process exits for any reason.
///
/// Only Linux supports this signal. On other systems, the caller must stop the child.
///
/// # Errors
/// If the command can't be started.
pub fn spawn(mut command: Command, stop_signal: Signal) -> io::Result<Child> {
    set_parent_death_signal(&mut command, stop_signal);
    let (reply, started) = mpsc::channel();
    let spawner = SPAWNER.get_or_init(start_spawner);
    // The thread never drops its receiver, and replies to every request.
    spawner
        .send(SpawnRequest { command, reply })
        .map_err(io::Error::other)?;
    started.recv().map_err(io::Error::other)?
}

fn start_spawner() -> mpsc::Sender<SpawnRequest> {
    let (requests, incoming) = mpsc::channel::<SpawnRequest>();
    let serve = move || {
        for mut request in incoming {
            // The send succeeds, because the caller waits for the reply.
            let _ = request.reply.send(request.command.spawn());
        }
    };
    // If the thread can't be started, `spawn` returns an error, because the channel is closed.
    let _ = thread::Builder::new().name("spawner".into()).spawn(serve);
    requests
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn set_parent_death_signal(command: &mut Command, stop_signal: Signal) {
    use std::os::unix::process::CommandExt;

    use rustix::{
        io::Errno,
        process::{getpid, getppid, set_parent_process_death_signal},
    };

    let supervisor = getpid();
    // `std` changes the user before it runs this closure; a later change would clear the signal.
    let prepare = move || {
        set_parent_process_death_signal(Some(stop_signal))?;
        // If the supervisor exited before the previous line, the kernel sends no signal.
        if getppid() == Some(supervisor) {
            Ok(())
        } else {
            Err(Errno::SRCH.into())
        }
    };
    // SAFETY: the closure makes two system calls and doesn't allocate, so it can run between fork
    // and exec.
    unsafe { command.pre_exec(prepare) };
}

/// Does nothing, because only Linux has this signal. The next start stops the leftovers (see
/// `leftover`).
#[cfg(not(target_os = "linux"))]
fn set_parent_death_signal(_command: &mut Command, _stop_signal: Signal) {}
