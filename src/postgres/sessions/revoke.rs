//! Ending sessions.

use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    revocation::{ENTRY_SECONDS, Reason, RevocationBatch},
    session::BROWSER_CLIENT,
};
use uuid::Uuid;

use super::{Idle, ids};
use crate::{
    error::Error,
    postgres::{Connection, Params, Postgres, audit, retry_on_deadlock, revocations},
};

const END: &str = include_str!("../../../sql/queries/revoke_session.sql");
const END_OTHERS: &str = include_str!("../../../sql/queries/revoke_other_sessions.sql");
const LIST_ENDED: &str = include_str!("../../../sql/queries/list_revoked_sessions.sql");
const END_OLDEST: &str = include_str!("../../../sql/queries/revoke_oldest_sessions.sql");
const END_ALL: &str = include_str!("../../../sql/queries/revoke_all_sessions.sql");
const RAISE_GENERATION: &str = include_str!("../../../sql/queries/increment_generation.sql");

/// Ends all sessions of the user but one. Those that have ended before a while ago are among the
/// ending: somebody may be about to publish them, or have failed to.
pub(crate) async fn end_others(
    db: &mut Connection,
    user: Uuid,
    keep: Uuid,
    reason: Reason,
) -> Result<RevocationBatch, Error> {
    let ended = ids(db
        .all(END_OTHERS, &[&user, &keep, &reason.as_str()])
        .await?)?;
    recorded(db, RevocationBatch::of_sessions(user, &ended, reason)).await?;
    Ok(RevocationBatch::of_sessions(
        user,
        &ended_lately(db, user).await?,
        reason,
    ))
}

async fn ended_lately(db: &mut Connection, user: Uuid) -> Result<Vec<Uuid>, Error> {
    ids(db
        .all(LIST_ENDED, &[&user, &(ENTRY_SECONDS as f64)])
        .await?)
}

/// Ends everything of the user below this generation, which its row has already.
pub(crate) async fn end_all(
    db: &mut Connection,
    user: Uuid,
    below: i64,
    reason: Reason,
) -> Result<RevocationBatch, Error> {
    db.change(END_ALL, &[&user, &reason.as_str()]).await?;
    recorded(db, RevocationBatch::of_user(user, below, reason)).await
}

async fn recorded(db: &mut Connection, ending: RevocationBatch) -> Result<RevocationBatch, Error> {
    revocations::record(db, &ending).await?;
    Ok(ending)
}

impl Postgres {
    /// Ends the session of this user. One that has ended keeps its time and reason, and is no
    /// event.
    pub async fn revoke_session(
        &self,
        user: Uuid,
        sid: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(self.try_end_session(user, sid, reason, event).await)
    }

    async fn try_end_session(
        &self,
        user: Uuid,
        sid: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let ending = RevocationBatch::of_sessions(user, &[sid], reason);
        if db
            .first(END, &[&user, &sid, &reason.as_str()])
            .await?
            .is_some()
        {
            revocations::record(&mut db, &ending).await?;
            audit::insert(&mut db, event).await?;
        }
        db.commit().await?;
        Ok(ending)
    }

    /// What ended of this user a while ago, for whoever repeats what could not be published.
    pub async fn recently_revoked_sessions(
        &self,
        user: Uuid,
        reason: Reason,
    ) -> Result<RevocationBatch, Error> {
        Ok(RevocationBatch::of_sessions(
            user,
            &ended_lately(&mut self.connection().await?, user).await?,
            reason,
        ))
    }

    /// Ends all sessions of this user but one.
    pub async fn revoke_other_sessions(
        &self,
        user: Uuid,
        keep: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(self.try_end_others(user, keep, reason, event).await)
    }

    async fn try_end_others(
        &self,
        user: Uuid,
        keep: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<RevocationBatch, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let ending = end_others(&mut db, user, keep, reason).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(ending)
    }

    /// Ends everything of this user; nothing if there is no such user.
    pub async fn revoke_all_sessions(
        &self,
        user: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(self.try_end_all(user, reason, event).await)
    }

    async fn try_end_all(
        &self,
        user: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.first(RAISE_GENERATION, &[&user]).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let ending = end_all(&mut db, user, row.try_get(0)?, reason).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(ending))
    }

    /// Ends the oldest live sessions of this user, so that no more than `most` are left.
    pub async fn revoke_oldest_sessions(
        &self,
        user: Uuid,
        most: i64,
        idle: Idle,
    ) -> Result<RevocationBatch, Error> {
        retry_on_deadlock!(self.try_end_oldest(user, most, idle).await)
    }

    async fn try_end_oldest(
        &self,
        user: Uuid,
        most: i64,
        idle: Idle,
    ) -> Result<RevocationBatch, Error> {
        let reason = Reason::TooManySessions;
        let (tokens, browser) = (idle.tokens as f64, idle.browser as f64);
        let params: Params = &[
            &user,
            &most,
            &reason.as_str(),
            &tokens,
            &browser,
            &BROWSER_CLIENT,
        ];
        let mut db = self.connection().await?;
        db.begin().await?;
        let ended = ids(db.all(END_OLDEST, params).await?)?;
        let ending = recorded(&mut db, RevocationBatch::of_sessions(user, &ended, reason)).await?;
        for sid in ended {
            let event = AuditEvent::new(EventKind::SessionRevoked, Actor::Server, Some(user))
                .of_session(sid);
            audit::insert(&mut db, &event.with_reason(reason.as_str())).await?;
        }
        db.commit().await?;
        Ok(ending)
    }
}
