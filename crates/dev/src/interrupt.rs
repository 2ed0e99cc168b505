//! Detects a request to stop the supervisor.
//!
//! A signal handler sets a flag, and loops poll the flag. A blocked signal mask isn't an option,
//! because children would inherit it, unlike a handler.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler for SIGINT, SIGTERM, and SIGHUP (terminal closed).
#[allow(unsafe_code)]
pub(super) fn install_handlers() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        let previous =
            unsafe { libc::signal(signal, handle_signal as *const () as libc::sighandler_t) };
        if signal == libc::SIGHUP && previous == libc::SIG_IGN {
            // `nohup` ignores SIGHUP, so that a closed terminal doesn't stop the program.
            // SAFETY: this call restores the previous disposition.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

pub(super) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Returns an error after a stop request, so that no further step starts.
pub(super) fn check() -> Result<(), Error> {
    if is_requested() {
        return Err(Error::new("interrupted"));
    }
    Ok(())
}

extern "C" fn handle_signal(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
}
