//! Sessions.

mod revoke;

use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    session::{BROWSER_CLIENT, Session},
};
pub(super) use revoke::{end_all, end_others};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Connection, Credentials, Postgres, StoredUser, audit};
use crate::{error::Error, postgres::users};

const OPEN: &str = include_str!("../../sql/queries/create_session.sql");
const HAS: &str = include_str!("../../sql/queries/has_session.sql");
const FIND_SCOPE: &str = include_str!("../../sql/queries/find_session_scope.sql");
const LIST: &str = include_str!("../../sql/queries/list_sessions.sql");
const HOLD_USER: &str = include_str!("../../sql/queries/lock_user.sql");
const HOLD_SESSION: &str = include_str!("../../sql/queries/lock_session.sql");
const RECORD_REFRESHES: &str = include_str!("../../sql/queries/save_session_activity.sql");

/// A session that is about to be.
pub struct NewSession<'a> {
    /// The session.
    pub session: &'a Session,
    /// Where the sign-in came from, for the list of devices.
    pub address: &'a str,
    /// What signed in, in its own words.
    pub agent: Option<&'a str>,
    /// How many live sessions a user may have.
    pub most: i64,
}

/// A sign-in that was done.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Whether the user may have more live sessions now than allowed.
    pub crowded: bool,
}

/// A live session, as its user sees it.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// The session.
    pub sid: Uuid,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it was last refreshed.
    pub refreshed_at: OffsetDateTime,
    /// When it ends if nobody uses it; at the latest its absolute end.
    pub live_until: OffsetDateTime,
    /// Where it was last seen.
    pub address: Option<String>,
    /// What began it, in its own words.
    pub agent: Option<String>,
}

/// How long sessions live without being used, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Those with a refresh token.
    pub tokens: u64,
    /// Those with a cookie.
    pub browser: u64,
}

/// A session as it was last seen.
#[derive(Debug, Clone)]
pub struct SessionActivity {
    /// Whose it is.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// How often it was refreshed.
    pub counter: u64,
    /// When it was last refreshed.
    pub at: OffsetDateTime,
    /// From where.
    pub address: String,
}

/// A session's row, and its user's, held until Redis has taken the session in. Dropped without
/// [`LockedSession::release`], its connection is closed.
pub struct LockedSession {
    db: Connection,
    /// The user.
    pub user: StoredUser,
    /// The session.
    pub session: Session,
    /// How often it was refreshed, at most a second late.
    pub counter: u64,
    /// When it was last refreshed.
    pub refreshed_at: OffsetDateTime,
    /// Whether it has ended.
    pub ended: bool,
}

impl LockedSession {
    /// Lets others write the rows again.
    pub async fn release(mut self) -> Result<(), Error> {
        self.db.roll_back().await
    }
}

/// Signs in, and records the event, if the user's password, generation and standing are still those
/// that were checked.
pub(super) async fn open(
    db: &mut Connection,
    known: &Credentials,
    new: &NewSession<'_>,
    event: &AuditEvent,
) -> Result<Option<Opened>, Error> {
    let (session, entry) = (new.session, audit::Entry::new(event));
    let (created_at, ends_at) = (moment(session.auth_time)?, moment(session.ends_at)?);
    let params: [&(dyn ToSql + Sync); 10] = [
        &known.user.account.id,
        &known.password_hash,
        &known.user.generation,
        &session.sid,
        &session.client_id,
        &session.scope,
        &created_at,
        &ends_at,
        &new.address,
        &new.agent,
    ];
    let params: Vec<_> = params
        .into_iter()
        .chain(entry.params())
        .chain([&new.most as _])
        .collect();
    let Some(row) = db.first(OPEN, &params).await? else {
        return Ok(None);
    };
    db.audited(event);
    Ok(Some(Opened {
        crowded: row.try_get("might_exceed_limit")?,
    }))
}

impl Postgres {
    /// Signs in, if the user's password, generation and standing are still those that were checked;
    /// nothing if not.
    pub async fn create_session(
        &self,
        known: &Credentials,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<Option<Opened>, Error> {
        open(&mut self.connection().await?, known, session, event).await
    }

    /// Whether this user has, or had, this session.
    pub async fn has_session(&self, user: Uuid, sid: Uuid) -> Result<bool, Error> {
        Ok(self
            .connection()
            .await?
            .first(HAS, &[&user, &sid])
            .await?
            .is_some())
    }

    /// What the tokens of a session may be used for.
    pub async fn session_scope(&self, user: Uuid, sid: Uuid) -> Result<Option<String>, Error> {
        let row = self
            .connection()
            .await?
            .first(FIND_SCOPE, &[&user, &sid])
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// A page of the live sessions of this user, and one more if there is a next page.
    pub async fn list_sessions(
        &self,
        user: Uuid,
        idle: Idle,
        page: Page,
    ) -> Result<Vec<SessionRow>, Error> {
        let (tokens, browser, limit) = (
            idle.tokens as f64,
            idle.browser as f64,
            i64::from(page.limit) + 1,
        );
        let params: super::Params = &[
            &user,
            &page.after,
            &tokens,
            &browser,
            &BROWSER_CLIENT,
            &limit,
        ];
        self.connection()
            .await?
            .all(LIST, params)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// Holds a session and its user, the user first; nothing if one of them is not there.
    pub async fn lock_session(&self, sub: Uuid, sid: Uuid) -> Result<Option<LockedSession>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let user = db.first(HOLD_USER, &[&sub]).await?;
        let session = db.first(HOLD_SESSION, &[&sub, &sid]).await?;
        let (Some(user), Some(session)) = (user, session) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let user = users::read(&user)?;
        read_held(db, user, sid, &session).map(Some)
    }

    /// Records what was seen of sessions. Returns the ids of those that are live in the record.
    pub async fn save_session_activity(
        &self,
        seen: &[SessionActivity],
    ) -> Result<Vec<Uuid>, Error> {
        let sids: Vec<Uuid> = seen.iter().map(|seen| seen.sid).collect();
        let counters: Vec<i64> = seen
            .iter()
            .map(|seen| i64::try_from(seen.counter).map_err(Error::internal))
            .collect::<Result<_, _>>()?;
        let moments: Vec<OffsetDateTime> = seen.iter().map(|seen| seen.at).collect();
        let addresses: Vec<&str> = seen.iter().map(|seen| seen.address.as_str()).collect();
        ids(self
            .connection()
            .await?
            .all(RECORD_REFRESHES, &[&sids, &counters, &moments, &addresses])
            .await?)
    }
}

fn ids(rows: Vec<Row>) -> Result<Vec<Uuid>, Error> {
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

fn moment(seconds: u64) -> Result<OffsetDateTime, Error> {
    let seconds = i64::try_from(seconds).map_err(Error::internal)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(Error::internal)
}

fn seconds(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp()).unwrap_or(0)
}

fn read(row: &Row) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        sid: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        refreshed_at: row.try_get("last_used_at")?,
        live_until: row.try_get("active_until")?,
        address: row.try_get("ip_address")?,
        agent: row.try_get("user_agent")?,
    })
}

fn read_held(
    db: Connection,
    user: StoredUser,
    sid: Uuid,
    row: &Row,
) -> Result<LockedSession, Error> {
    let counter: i64 = row.try_get("rotation_counter")?;
    let session = Session {
        sid,
        sub: user.account.id,
        generation: row.try_get("generation")?,
        client_id: row.try_get("client_id")?,
        scope: row.try_get("scope")?,
        auth_time: seconds(row.try_get("created_at")?),
        ends_at: seconds(row.try_get("expires_at")?),
    };
    let (refreshed_at, ended) = (row.try_get("last_used_at")?, row.try_get("is_revoked")?);
    Ok(LockedSession {
        db,
        user,
        session,
        counter: u64::try_from(counter).map_err(Error::internal)?,
        refreshed_at,
        ended,
    })
}
