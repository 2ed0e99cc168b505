//! Sessions: creation, lookup, locking, and activity.

mod revoke;
mod revoke_all_users;

use crate::{error::Error, postgres::stored_user::read_user};
use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    session::{BROWSER_CLIENT, Session},
};
pub(super) use revoke::{revoke_all, revoke_others};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Connection, Credentials, EmailTemplate, Postgres, StoredUser, audit};

const CREATE_SESSION: &str = include_str!("../../sql/queries/create_session.sql");
const HAS_SESSION: &str = include_str!("../../sql/queries/has_session.sql");
const FIND_UNREVOKED_SESSION: &str = include_str!("../../sql/queries/find_unrevoked_session.sql");
const IS_SESSION_USED: &str = include_str!("../../sql/queries/is_session_used.sql");
const FIND_SESSION_SCOPE: &str = include_str!("../../sql/queries/find_session_scope.sql");
const LIST_SESSIONS: &str = include_str!("../../sql/queries/list_sessions.sql");
const LOCK_USER: &str = include_str!("../../sql/queries/lock_user.sql");
const LOCK_SESSION: &str = include_str!("../../sql/queries/lock_session.sql");
const SAVE_SESSION_ACTIVITY: &str = include_str!("../../sql/queries/save_session_activity.sql");

/// A session to insert.
pub struct NewSession<'a> {
    pub session: &'a Session,
    /// The IP address of the sign-in, for the list of sessions.
    pub address: &'a str,
    /// The `User-Agent` of the sign-in.
    pub agent: Option<&'a str>,
    /// The maximum number of active sessions per user.
    pub most: i64,
}

/// The result of creating a session.
#[derive(Debug, Clone, Copy)]
pub struct CreatedSession {
    /// Whether the user might now have more active sessions than the maximum.
    pub crowded: bool,
}

/// An active session, for the list of a user.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub session_id: Uuid,
    pub created_at: OffsetDateTime,
    /// The time of the last refresh or cookie renewal.
    pub last_used_at: OffsetDateTime,
    /// The time at which the session expires if it isn't used until then.
    pub active_until: OffsetDateTime,
    /// The IP address of the last use.
    pub ip_address: Option<String>,
    /// The `User-Agent` of the sign-in.
    pub user_agent: Option<String>,
}

/// Idle timeouts of sessions, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// For sessions with a refresh token.
    pub tokens: u64,
    /// For sessions with a cookie.
    pub browser: u64,
}

/// The last use of a session.
#[derive(Debug, Clone)]
pub struct SessionActivity {
    pub user_id: Uuid,
    pub session_id: Uuid,
    /// The rotation counter.
    pub counter: u64,
    /// The time of the last refresh.
    pub at: OffsetDateTime,
    /// The IP address of the last refresh.
    pub address: String,
}

/// The rows of a session and its user, locked while Redis restores the session.
///
/// Dropping the value without [`LockedSession::release`] closes the connection.
pub struct LockedSession {
    db: Connection,
    pub user: StoredUser,
    pub session: Session,
    /// The rotation counter, which is stored up to a second late.
    pub counter: u64,
    /// The time of the last refresh.
    pub refreshed_at: OffsetDateTime,
    /// Whether the session was revoked.
    pub is_revoked: bool,
}

impl LockedSession {
    /// Releases the locks.
    pub async fn release(mut self) -> Result<(), Error> {
        self.db.roll_back().await
    }
}

/// Inserts a session with its audit event. Returns `None` if the user was changed since
/// `credentials` were verified: another password or generation, or disabled.
pub(super) async fn insert(
    db: &mut Connection,
    credentials: &Credentials,
    new: &NewSession<'_>,
    event: &AuditEvent,
) -> Result<Option<CreatedSession>, Error> {
    let (session, audit_event) = (new.session, audit::NewAuditEvent::new(event));
    let created_at = to_time(session.auth_time)?;
    let expires_at = to_time(session.expires_at)?;
    let params: [&(dyn ToSql + Sync); 10] = [
        &credentials.user.account.id,
        &credentials.password_hash,
        &credentials.user.generation,
        &session.session_id,
        &session.client_id,
        &session.scope,
        &created_at,
        &expires_at,
        &new.address,
        &new.agent,
    ];
    let notice = EmailTemplate::NewDevice;
    let (notice_id, template) = (Uuid::now_v7(), notice.into_str());
    let priority = notice.priority().stored();
    let params: Vec<_> = params
        .into_iter()
        .chain(audit_event.params())
        .chain([
            &new.most as _,
            &notice_id as _,
            &template as _,
            &priority as _,
        ])
        .collect();
    let Some(row) = db.query_first(CREATE_SESSION, &params).await? else {
        return Ok(None);
    };
    db.log_after_commit(event);
    Ok(Some(CreatedSession {
        crowded: row.try_get("might_exceed_limit")?,
    }))
}

/// Requires that a session is neither revoked nor deleted. Otherwise, rolls the transaction back.
///
/// If the transaction has locked the user's row, it sees the revocations by all earlier changes of
/// the row, because they are committed.
///
/// # Errors
/// `token_revoked`, `unavailable`.
pub(super) async fn require_unrevoked(
    db: &mut Connection,
    user_id: Uuid,
    session_id: Uuid,
) -> Result<(), Error> {
    if is_revoked(db, user_id, session_id).await? {
        db.roll_back().await?;
        return Err(Error::TokenRevoked);
    }
    Ok(())
}

async fn is_revoked(db: &mut Connection, user_id: Uuid, session_id: Uuid) -> Result<bool, Error> {
    let row = db
        .query_first(FIND_UNREVOKED_SESSION, &[&user_id, &session_id])
        .await?;
    Ok(row.is_none())
}

impl Postgres {
    /// Creates a session with its audit event. Returns `None` if the user was changed since
    /// `credentials` were verified: another password or generation, or disabled.
    pub async fn create_session(
        &self,
        credentials: &Credentials,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<Option<CreatedSession>, Error> {
        insert(&mut self.connection().await?, credentials, session, event).await
    }

    /// Whether the session belongs to the user. The session can be expired or revoked.
    pub async fn has_session(&self, user_id: Uuid, session_id: Uuid) -> Result<bool, Error> {
        Ok(self
            .connection()
            .await?
            .query_first(HAS_SESSION, &[&user_id, &session_id])
            .await?
            .is_some())
    }

    /// Whether a session is revoked or deleted.
    pub async fn is_session_revoked(&self, user_id: Uuid, session_id: Uuid) -> Result<bool, Error> {
        is_revoked(&mut self.connection().await?, user_id, session_id).await
    }

    /// Whether a session is active and was used since a time.
    pub async fn is_session_used(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        since: OffsetDateTime,
    ) -> Result<bool, Error> {
        let params: super::Params = &[&user_id, &session_id, &since];
        let mut db = self.connection().await?;
        Ok(db.query_first(IS_SESSION_USED, params).await?.is_some())
    }

    /// Returns the scope of a session.
    pub async fn session_scope(
        &self,
        user_id: Uuid,
        session_id: Uuid,
    ) -> Result<Option<String>, Error> {
        let row = self
            .connection()
            .await?
            .query_first(FIND_SESSION_SCOPE, &[&user_id, &session_id])
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Lists a page of the active sessions of a user, and one more if there is a next page.
    pub async fn list_sessions(
        &self,
        user_id: Uuid,
        idle: Idle,
        page: Page,
    ) -> Result<Vec<SessionRow>, Error> {
        let (tokens, browser, limit) = (
            idle.tokens as f64,
            idle.browser as f64,
            i64::from(page.limit) + 1,
        );
        let params: super::Params = &[
            &user_id,
            &page.after,
            &tokens,
            &browser,
            &BROWSER_CLIENT,
            &limit,
        ];
        self.connection()
            .await?
            .query(LIST_SESSIONS, params)
            .await?
            .iter()
            .map(read_session)
            .collect()
    }

    /// Locks the rows of a user and a session, in this order; `None` if one of them doesn't exist.
    pub async fn lock_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
    ) -> Result<Option<LockedSession>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let user = db.query_first(LOCK_USER, &[&user_id]).await?;
        let session = db
            .query_first(LOCK_SESSION, &[&user_id, &session_id])
            .await?;
        let (Some(user), Some(session)) = (user, session) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let user = read_user(&user)?;
        read_locked_session(db, user, session_id, &session).map(Some)
    }

    /// Stores the last uses of sessions, and returns the IDs of the active sessions among them.
    pub async fn save_session_activity(
        &self,
        activities: &[SessionActivity],
    ) -> Result<Vec<Uuid>, Error> {
        let session_ids: Vec<Uuid> = activities
            .iter()
            .map(|activity| activity.session_id)
            .collect();
        let counters: Vec<i64> = activities
            .iter()
            .map(|activity| i64::try_from(activity.counter).map_err(Error::internal))
            .collect::<Result<_, _>>()?;
        let times: Vec<OffsetDateTime> = activities.iter().map(|activity| activity.at).collect();
        let addresses: Vec<&str> = activities
            .iter()
            .map(|activity| activity.address.as_str())
            .collect();
        read_ids(
            self.connection()
                .await?
                .query(
                    SAVE_SESSION_ACTIVITY,
                    &[&session_ids, &counters, &times, &addresses],
                )
                .await?,
        )
    }
}

fn read_ids(rows: Vec<Row>) -> Result<Vec<Uuid>, Error> {
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

fn to_time(unix_seconds: u64) -> Result<OffsetDateTime, Error> {
    let unix_seconds = i64::try_from(unix_seconds).map_err(Error::internal)?;
    OffsetDateTime::from_unix_timestamp(unix_seconds).map_err(Error::internal)
}

fn to_unix_seconds(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp()).unwrap_or(0)
}

fn read_session(row: &Row) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        session_id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        active_until: row.try_get("active_until")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
    })
}

fn read_locked_session(
    db: Connection,
    user: StoredUser,
    session_id: Uuid,
    row: &Row,
) -> Result<LockedSession, Error> {
    let counter: i64 = row.try_get("rotation_counter")?;
    let session = Session {
        session_id,
        user_id: user.account.id,
        generation: row.try_get("generation")?,
        client_id: row.try_get("client_id")?,
        scope: row.try_get("scope")?,
        auth_time: to_unix_seconds(row.try_get("created_at")?),
        expires_at: to_unix_seconds(row.try_get("expires_at")?),
    };
    let (refreshed_at, is_revoked) = (row.try_get("last_used_at")?, row.try_get("is_revoked")?);
    Ok(LockedSession {
        db,
        user,
        session,
        counter: u64::try_from(counter).map_err(Error::internal)?,
        refreshed_at,
        is_revoked,
    })
}
