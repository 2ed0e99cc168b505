//! Lists the sessions of a user, and revokes one of them. A user recognizes sessions as devices.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{Actor, EventKind},
    page::{MAX_LIMIT, Page},
    revocation::RevocationReason,
};
use uuid::Uuid;

pub use crate::postgres::SessionRow;

use crate::{
    app::{origin::Origin, revocation::WaitFor, sessions::Sessions},
    error::Error,
};

/// The maximum number of active sessions of a user. A sign-in beyond it revokes the oldest one.
pub(crate) const MAX_SESSIONS_PER_USER: i64 = 100;

// The dashboard reads all sessions of a user as one page.
const _: () = assert!(MAX_SESSIONS_PER_USER <= MAX_LIMIT as i64);

/// A page of sessions.
pub struct SessionPage {
    pub sessions: Vec<SessionRow>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

impl Sessions {
    /// Returns a page of the active sessions of a user.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_sessions(&self, user_id: Uuid, page: Page) -> Result<SessionPage, Error> {
        let (sessions, next) = page.cut(
            self.postgres
                .list_sessions(user_id, self.idle(), page)
                .await?,
            |session| session.session_id,
        );
        Ok(SessionPage { sessions, next })
    }

    /// Revokes one session of the caller. The operation is idempotent: a repetition publishes a
    /// revocation that is committed but not published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_own_session(
        self: &Arc<Self>,
        caller: &Claims,
        session_id: Uuid,
        wait_for: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (sessions, user_id) = (self.clone(), caller.sub);
        let reason = RevocationReason::SessionRevoked;
        let event = origin
            .event(
                EventKind::SessionRevoked,
                Actor::User(user_id),
                Some(user_id),
            )
            .of_session(session_id)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                if !sessions.postgres.has_session(user_id, session_id).await? {
                    return Err(Error::NotFound);
                }
                sessions
                    .revocations
                    .revoke_session(user_id, session_id, reason, wait_for, &event)
                    .await
            })
            .await
    }

    /// Revokes the oldest sessions of a user beyond the maximum. It runs in the background, because
    /// the sign-in that exceeds the maximum doesn't depend on it.
    pub(crate) fn revoke_oldest_sessions(self: &Arc<Self>, user_id: Uuid) {
        let sessions = self.clone();
        let task = async move {
            let batch = sessions
                .postgres
                .revoke_oldest_sessions(user_id, MAX_SESSIONS_PER_USER, sessions.idle())
                .await?;
            sessions.revocations.publish(&batch).await
        };
        // After a failure, the next sign-in of the user retries.
        self.tasks.spawn(task);
    }
}
