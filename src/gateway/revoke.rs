//! Ending things. The order is always the same: the row in PostgreSQL, the script of the account (so that refreshing
//! stops), then the entries on the denylist (so that access tokens stop). Each part may be repeated.
//!
//! What stands in the record and could not be published is published as soon as Redis is back: the caller is told
//! with a 503, and this process goes on trying. If it dies before, a repeat of what ended things does it.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::Gateway;
use crate::{domain::revocation::Revocation, error::Error};

/// Between two attempts to publish, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publications that wait for Redis at once; further ones are left to a repeat. A long outage must not fill the memory.
pub(super) const MOST_WAITING: usize = 10_000;

/// What has ended in the record, and Redis must learn.
#[derive(Clone)]
pub(super) struct Ending {
    /// Whose it was.
    pub sub: Uuid,
    /// Sessions that ended one by one.
    pub sessions: Vec<Uuid>,
    /// The access token that asked for it, and its `exp`.
    pub token: Option<(Uuid, u64)>,
    /// Everything of the account below this generation has ended.
    pub below: Option<i64>,
    /// Why, for the person who asks.
    pub reason: &'static str,
}

impl Ending {
    /// The end of single sessions.
    pub fn of_sessions(sub: Uuid, sessions: Vec<Uuid>, reason: &'static str) -> Ending {
        Ending { sub, sessions, token: None, below: None, reason }
    }

    /// The end of everything of an account below a generation.
    pub fn of_account(sub: Uuid, below: i64, reason: &'static str) -> Ending {
        Ending { sub, sessions: Vec::new(), token: None, below: Some(below), reason }
    }

    fn entries(&self) -> Vec<Revocation> {
        let sessions = self.sessions.iter().map(|sid| Revocation::Session { sid: *sid });
        let token = self.token.map(|(jti, exp)| Revocation::Token { jti, exp });
        let user = self.below.map(|below| Revocation::User { sub: self.sub, below });
        sessions.chain(token).chain(user).collect()
    }
}

impl Gateway {
    /// Tells Redis of an ending that the record holds.
    ///
    /// # Errors
    /// `unavailable`, where it could not be told now; it will be as soon as it answers.
    pub(super) async fn publish(self: &Arc<Self>, ending: Ending) -> Result<(), Error> {
        match self.try_publish(&ending).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Ok(place) = self.waiting.clone().try_acquire_owned() {
                    let gateway = self.clone();
                    tokio::spawn(async move {
                        gateway.keep_publishing(&ending).await;
                        drop(place);
                    });
                }
                Err(error.after_commit())
            }
        }
    }

    async fn try_publish(&self, ending: &Ending) -> Result<(), Error> {
        if let Some(below) = ending.below {
            self.speed.raise_generation(ending.sub, below, self.idle_seconds()).await?;
        }
        if !ending.sessions.is_empty() {
            self.speed.end_sessions(ending.sub, &ending.sessions, ending.reason).await?;
        }
        let entries = ending.entries();
        if !entries.is_empty() {
            self.speed.revoke(&entries, self.clock.now()).await?;
        }
        report(ending);
        Ok(())
    }

    async fn keep_publishing(&self, ending: &Ending) {
        let mut pause = PAUSE;
        while self.try_publish(ending).await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn report(ending: &Ending) {
    let Ending { sub, sessions, below, reason, .. } = ending;
    let count = |kind| metrics::counter!("latchkey_revocations_total", "kind" => kind);
    count("session").increment(sessions.len() as u64);
    count("user").increment(u64::from(below.is_some()));
    for sid in sessions {
        tracing::info!(event = "session_ended", %sub, %sid, reason, "session ended");
    }
    if let Some(below) = below {
        tracing::info!(event = "account_ended", %sub, below, reason, "every session of the account ended");
    }
}
