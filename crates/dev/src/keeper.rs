//! One thread that starts every child and never ends.
//!
//! Linux sends the parent-death signal when the parent *thread* ends, not the process. Tests start
//! the stack from threads that live as long as one test; children of those would die with the test.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

use rustix::process::Signal;

struct Order {
    command: Command,
    answer: mpsc::Sender<io::Result<Child>>,
}

static KEEPER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

/// Starts the command so that it gets this signal when this process dies, however it dies. Only
/// Linux has that; elsewhere the caller ends the child.
///
/// # Errors
/// If the command cannot be started.
pub fn spawn(mut command: Command, farewell: Signal) -> io::Result<Child> {
    end_with_us(&mut command, farewell);
    let (answer, started) = mpsc::channel();
    let keeper = KEEPER.get_or_init(hire);
    // The keeper holds its receiver for ever, and answers every order.
    keeper
        .send(Order { command, answer })
        .map_err(io::Error::other)?;
    started.recv().map_err(io::Error::other)?
}

fn hire() -> mpsc::Sender<Order> {
    let (orders, incoming) = mpsc::channel::<Order>();
    let work = move || {
        for mut order in incoming {
            // Who gave the order waits for the answer, so somebody listens.
            let _ = order.answer.send(order.command.spawn());
        }
    };
    // Without it no child can be started; `spawn` then says that the channel is closed.
    let _ = thread::Builder::new().name("keeper".into()).spawn(work);
    orders
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn end_with_us(command: &mut Command, farewell: Signal) {
    use std::os::unix::process::CommandExt;

    use rustix::{
        io::Errno,
        process::{getpid, getppid, set_parent_process_death_signal},
    };

    let us = getpid();
    // Runs after std changed the user, which would clear the signal.
    let prepare = move || {
        set_parent_process_death_signal(Some(farewell))?;
        // We may have died between the fork and the line above; then no signal will come any more.
        if getppid() == Some(us) {
            Ok(())
        } else {
            Err(Errno::SRCH.into())
        }
    };
    // SAFETY: two system calls and no allocation, which is what may be done between fork and exec.
    unsafe { command.pre_exec(prepare) };
}

/// No such promise here; the next start ends what a killed run left (see `leftover`).
#[cfg(not(target_os = "linux"))]
fn end_with_us(_command: &mut Command, _farewell: Signal) {}
