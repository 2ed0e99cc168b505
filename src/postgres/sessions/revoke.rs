//! Revocation of sessions.

use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    revocation::{ENTRY_SECONDS, RevocationBatch, RevocationReason},
    session::BROWSER_CLIENT,
};
use uuid::Uuid;

use super::{Idle, read_ids};
use crate::{
    error::Error,
    postgres::{Connection, Params, Postgres, audit, retry_on_deadlock, revocations},
};

const REVOKE_SESSION: &str = include_str!("../../../sql/queries/revoke_session.sql");
const REVOKE_OTHER_SESSIONS: &str = include_str!("../../../sql/queries/revoke_other_sessions.sql");
const LIST_REVOKED_SESSIONS: &str = include_str!("../../../sql/queries/list_revoked_sessions.sql");
const REVOKE_OLDEST_SESSIONS: &str =
    include_str!("../../../sql/queries/revoke_oldest_sessions.sql");
const REVOKE_ALL_SESSIONS: &str = include_str!("../../../sql/queries/revoke_all_sessions.sql");
const INCREMENT_GENERATION: &str = include_str!("../../../sql/queries/increment_generation.sql");

/// Revokes all sessions of a user except the current one.
///
/// The result also contains recently revoked sessions, because another request might not have
/// published them yet, or might have failed to.
pub(crate) async fn revoke_others(
    db: &mut Connection,
    user_id: Uuid,
    current_session_id: Uuid,
    reason: RevocationReason,
) -> Result<RevocationBatch, Error> {
    let revoked = read_ids(
        db.query(
            REVOKE_OTHER_SESSIONS,
            &[&user_id, &current_session_id, &reason.as_str()],
        )
        .await?,
    )?;
    insert_revocations(db, RevocationBatch::of_sessions(user_id, &revoked, reason)).await?;
    Ok(RevocationBatch::of_sessions(
        user_id,
        &list_recently_revoked(db, user_id).await?,
        reason,
    ))
}

async fn list_recently_revoked(db: &mut Connection, user_id: Uuid) -> Result<Vec<Uuid>, Error> {
    read_ids(
        db.query(LIST_REVOKED_SESSIONS, &[&user_id, &(ENTRY_SECONDS as f64)])
            .await?,
    )
}

/// Revokes all sessions and tokens of a user below `generation`, which the user's row has already.
pub(crate) async fn revoke_all(
    db: &mut Connection,
    user_id: Uuid,
    generation: i64,
    reason: RevocationReason,
) -> Result<RevocationBatch, Error> {
    db.execute(REVOKE_ALL_SESSIONS, &[&user_id, &reason.as_str()])
        .await?;
    insert_revocations(db, RevocationBatch::of_user(user_id, generation, reason)).await
}

async fn insert_revocations(
    db: &mut Connection,
    batch: RevocationBatch,
) -> Result<RevocationBatch, Error> {
    revocations::insert(db, &batch).await?;
    Ok(batch)
}

impl Postgres {
    /// Revokes a session of a user, with an audit event. A repeated revocation changes nothing and
    /// creates no event.
    pub async fn revoke_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(
            self.try_revoke_session(user_id, session_id, reason, event)
                .await
        )
    }

    async fn try_revoke_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let batch = RevocationBatch::of_sessions(user_id, &[session_id], reason);
        if db
            .query_first(REVOKE_SESSION, &[&user_id, &session_id, &reason.as_str()])
            .await?
            .is_some()
        {
            revocations::insert(&mut db, &batch).await?;
            audit::insert(&mut db, event).await?;
        }
        db.commit().await?;
        Ok(batch)
    }

    /// Returns the recently revoked sessions of a user, so that a repeated request publishes them
    /// again.
    pub async fn recently_revoked_sessions(
        &self,
        user_id: Uuid,
        reason: RevocationReason,
    ) -> Result<RevocationBatch, Error> {
        Ok(RevocationBatch::of_sessions(
            user_id,
            &list_recently_revoked(&mut self.connection().await?, user_id).await?,
            reason,
        ))
    }

    /// Revokes all sessions of a user except the current one, with an audit event.
    pub async fn revoke_other_sessions(
        &self,
        user_id: Uuid,
        current_session_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(
            self.try_revoke_others(user_id, current_session_id, reason, event)
                .await
        )
    }

    async fn try_revoke_others(
        &self,
        user_id: Uuid,
        current_session_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let batch = revoke_others(&mut db, user_id, current_session_id, reason).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(batch)
    }

    /// Revokes all sessions and tokens of a user, with an audit event; `None` if there is no such
    /// user.
    pub async fn revoke_all_sessions(
        &self,
        user_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(self.try_revoke_all(user_id, reason, event).await)
    }

    async fn try_revoke_all(
        &self,
        user_id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.query_first(INCREMENT_GENERATION, &[&user_id]).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let batch = revoke_all(&mut db, user_id, row.try_get(0)?, reason).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(batch))
    }

    /// Revokes the oldest active sessions of a user, so that at most `max_sessions` remain.
    pub async fn revoke_oldest_sessions(
        &self,
        user_id: Uuid,
        max_sessions: i64,
        idle: Idle,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(self.try_revoke_oldest(user_id, max_sessions, idle).await)
    }

    async fn try_revoke_oldest(
        &self,
        user_id: Uuid,
        max_sessions: i64,
        idle: Idle,
    ) -> Result<RevocationBatch, Error> {
        let reason = RevocationReason::TooManySessions;
        let (tokens, browser) = (idle.tokens as f64, idle.browser as f64);
        let params: Params = &[
            &user_id,
            &max_sessions,
            &reason.as_str(),
            &tokens,
            &browser,
            &BROWSER_CLIENT,
        ];
        let mut db = self.connection().await?;
        db.begin().await?;
        let revoked = read_ids(db.query(REVOKE_OLDEST_SESSIONS, params).await?)?;
        let batch = RevocationBatch::of_sessions(user_id, &revoked, reason);
        let batch = insert_revocations(&mut db, batch).await?;
        for session_id in revoked {
            let event = AuditEvent::new(EventKind::SessionRevoked, Actor::Server, Some(user_id))
                .of_session(session_id);
            audit::insert(&mut db, &event.with_reason(reason.as_str())).await?;
        }
        db.commit().await?;
        Ok(batch)
    }
}
