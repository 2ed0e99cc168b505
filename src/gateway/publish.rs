//! Telling Redis what the record holds: what has ended, and who somebody is. The order is always the same: the row in
//! PostgreSQL, the scripts of the account (so that refreshing stops), then the entries on the denylist (so that access
//! tokens stop). Each part may be repeated.
//!
//! What stands in the record and could not be published is published as soon as Redis is back: the caller is told
//! with a 503, and this process goes on trying. If it dies before, a repeat of a logout or a reset does it; what cannot be
//! repeated (a password change, a renaming) stays unpublished then.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::Gateway;
use crate::{
    domain::{account::Identity, revocation::Revocation},
    error::Error,
};

/// What the caller reads meanwhile.
const TOLD_LATER: &str =
    "The change was made and needs no repeat, but a store could not be told of it; it will be as soon as it answers.";

/// What the caller reads where too many wait already.
const TELL_AGAIN: &str = "The change was made, but a store could not be told of it; repeat it in a moment.";

/// Between two attempts to publish, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publications that wait for Redis at once; further ones are left to a repeat. A long outage must not fill the memory.
pub(super) const MOST_WAITING: usize = 10_000;

/// What has changed in the record, and Redis must learn.
pub(super) struct Change {
    /// Whose it was.
    pub sub: Uuid,
    /// Sessions that ended one by one.
    pub sessions: Vec<Uuid>,
    /// The access token that asked for it, and its `exp`.
    pub token: Option<(Uuid, u64)>,
    /// Everything of the account below this generation has ended.
    pub below: Option<i64>,
    /// What the next tokens of the account say.
    pub identity: Option<Identity>,
    /// Why, for the person who asks.
    pub reason: &'static str,
}

impl Change {
    /// The end of single sessions.
    pub fn of_sessions(sub: Uuid, sessions: Vec<Uuid>, reason: &'static str) -> Change {
        Change { sub, sessions, token: None, below: None, identity: None, reason }
    }

    /// The end of everything of an account below a generation.
    pub fn of_account(sub: Uuid, below: i64, reason: &'static str) -> Change {
        Change { below: Some(below), ..Change::of_sessions(sub, Vec::new(), reason) }
    }

    /// Another name, or a verified address.
    pub fn of_identity(sub: Uuid, identity: Identity, reason: &'static str) -> Change {
        Change { identity: Some(identity), ..Change::of_sessions(sub, Vec::new(), reason) }
    }

    fn entries(&self) -> Vec<Revocation> {
        let sessions = self.sessions.iter().map(|sid| Revocation::Session { sid: *sid });
        let token = self.token.map(|(jti, exp)| Revocation::Token { jti, exp });
        let user = self.below.map(|below| Revocation::User { sub: self.sub, below });
        sessions.chain(token).chain(user).collect()
    }
}

impl Gateway {
    /// Tells Redis of a change that the record holds.
    ///
    /// # Errors
    /// `unavailable`, where it could not be told now; it will be as soon as it answers.
    pub(super) async fn publish(self: &Arc<Self>, change: Change) -> Result<(), Error> {
        match self.try_publish(&change).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let Ok(place) = self.waiting.clone().try_acquire_owned() else {
                    return Err(error.after_commit(TELL_AGAIN));
                };
                let gateway = self.clone();
                tokio::spawn(async move {
                    gateway.keep_publishing(&change).await;
                    drop(place);
                });
                Err(error.after_commit(TOLD_LATER))
            }
        }
    }

    async fn try_publish(&self, change: &Change) -> Result<(), Error> {
        if let Some(below) = change.below {
            self.speed.raise_generation(change.sub, below, self.idle_seconds()).await?;
        }
        if !change.sessions.is_empty() {
            self.speed.end_sessions(change.sub, &change.sessions, change.reason).await?;
        }
        if let Some(identity) = &change.identity {
            self.speed.store_identity(change.sub, identity, self.idle_seconds()).await?;
        }
        let entries = change.entries();
        if !entries.is_empty() {
            self.speed.revoke(&entries, self.clock.now()).await?;
        }
        report(change);
        Ok(())
    }

    async fn keep_publishing(&self, change: &Change) {
        let mut pause = PAUSE;
        while self.try_publish(change).await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn report(change: &Change) {
    let Change { sub, sessions, below, reason, .. } = change;
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
