//! How fast entries reach every replica, measured by one that says nothing; and what is over is
//! forgotten in passing.

use std::{sync::Arc, time::Duration};

use latchkey_domain::revocation::{Entry, Standing, Subject, lease::Sight};

use crate::app::{Gateway, clock};

/// Between two canaries.
const PAUSE: Duration = Duration::from_secs(5);

/// How long one stays on the denylist, in seconds.
const LIFETIME: u64 = 60;

impl Gateway {
    /// Sends canaries until the process ends.
    pub async fn send_canaries(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.revocations.cell.set().forget(self.clock.now());
            if self.revocations.sight() == Sight::Whole {
                self.send_canary().await;
            }
        }
    }

    async fn send_canary(&self) {
        let began = clock::uptime();
        let number = i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX);
        let standing = Standing {
            value: number,
            ends_at: self.clock.now() + LIFETIME,
        };
        let entry = Entry {
            subject: Subject::Canary(self.revocations.id),
            standing,
        };
        // Whatever keeps it from being appended is told by those who have something to append.
        if let Ok(pending) = self.append(vec![entry]).await {
            self.take_effect(&pending).await;
            let taken = Duration::from_nanos(clock::uptime().saturating_sub(began));
            metrics::histogram!("latchkey_revocation_propagation_seconds")
                .record(taken.as_secs_f64());
        }
    }
}
