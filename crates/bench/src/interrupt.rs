//! Ctrl-C and SIGTERM: a signal makes the run fail, so that each owner stops its child processes in
//! order.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler. The first signal requests a graceful stop, and the second one exits at
/// once.
pub fn install() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(handle_signals());
        }
    });
}

async fn handle_signals() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if STOP_REQUESTED.swap(true, Ordering::Relaxed) {
            // The kernel kills the children, because their parent-death signal is set.
            std::process::exit(130);
        }
    }
}

/// Returns an error if a signal has arrived. The work between two calls is short.
pub fn check() -> Outcome<()> {
    if STOP_REQUESTED.load(Ordering::Relaxed) {
        Err("interrupted".into())
    } else {
        Ok(())
    }
}
