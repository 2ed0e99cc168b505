//! Ctrl-C and SIGTERM: what runs is ended in order, because every child belongs to a value that
//! ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on a signal is a request to end soon, and a second one to end at once.
pub fn install() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(listen());
        }
    });
}

async fn listen() {
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
        if ASKED.swap(true, Ordering::Relaxed) {
            // The kernel tells the children.
            std::process::exit(130);
        }
    }
}

/// Between two steps, none of which takes long.
pub fn check() -> Outcome<()> {
    if ASKED.load(Ordering::Relaxed) {
        Err("interrupted".into())
    } else {
        Ok(())
    }
}
