//! Detects a request to stop the supervisor.
//!
//! A handler sets a flag, and loops poll it: children would inherit a blocked signal mask, but not a
//! handler.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From here on SIGINT, SIGTERM and SIGHUP (the terminal was closed) are requests.
#[allow(unsafe_code)]
pub(super) fn install() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: storing to an atomic is all the handler does, and that is async-signal-safe.
        let before = unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
        if signal == libc::SIGHUP && before == libc::SIG_IGN {
            // Started by `nohup`: a closed terminal must not stop it.
            // SAFETY: restores the previous handler.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

extern "C" fn note(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
}
