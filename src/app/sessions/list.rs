//! One's sessions, which mostly are devices: seeing them, and ending one.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{Actor, EventKind},
    page::Page,
    revocation::Reason,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, revocation::WaitFor},
    error::Error,
    postgres::SessionRow,
};

/// A user's live sessions; the oldest ends when there would be one more.
pub(crate) const MAX_SESSIONS_PER_USER: i64 = 100;

/// A page of devices.
pub struct SessionPage {
    /// The devices.
    pub sessions: Vec<SessionRow>,
    /// Where the next page goes on, if there is one.
    pub next: Option<String>,
}

impl Gateway {
    /// A page of the live sessions of a user.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_sessions(&self, user: Uuid, page: Page) -> Result<SessionPage, Error> {
        let (sessions, next) = page.cut(
            self.postgres.list_sessions(user, self.idle(), page).await?,
            |device| device.sid,
        );
        Ok(SessionPage { sessions, next })
    }

    /// Ends one session of the caller's. Repeating it is fine, and finishes what could not be
    /// published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_own_session(
        self: &Arc<Self>,
        caller: &Claims,
        sid: Uuid,
        patience: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (gateway, sub) = (self.clone(), caller.sub);
        let reason = Reason::SessionDeleted;
        let event = origin
            .event(EventKind::SessionRevoked, Actor::User(sub), Some(sub))
            .of_session(sid)
            .with_reason(reason.as_str());
        self.run_to_completion(async move {
            if !gateway.postgres.has_session(sub, sid).await? {
                return Err(Error::NotFound);
            }
            gateway
                .revoke_session(sub, sid, reason, patience, &event)
                .await
        })
        .await
    }

    /// After a sign-in: ends the oldest sessions beyond the most that a user may have. Nobody waits
    /// for it.
    pub(crate) fn revoke_oldest_sessions(self: &Arc<Self>, user: Uuid) {
        let gateway = self.clone();
        let task = async move {
            let ending = gateway
                .postgres
                .revoke_oldest_sessions(user, MAX_SESSIONS_PER_USER, gateway.idle())
                .await?;
            gateway.publish(&ending).await
        };
        // A failure is made up for by the next sign-in.
        drop(self.tasks.spawn(task));
    }
}
