//! Sessions.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, Postgres, StoredUser};
use crate::error::Error;

const INSERT: &str = include_str!("../../sql/queries/insert_session.sql");
const END: &str = include_str!("../../sql/queries/end_session.sql");
const END_OTHERS: &str = include_str!("../../sql/queries/end_other_sessions.sql");
const END_ALL: &str = include_str!("../../sql/queries/end_all_sessions.sql");
const LIST: &str = include_str!("../../sql/queries/list_sessions.sql");

/// A session that is about to be.
pub struct NewSession<'a> {
    /// Its id, made by the caller.
    pub sid: Uuid,
    /// The OAuth client.
    pub client_id: &'a str,
    /// What its tokens may be used for.
    pub scope: &'a str,
    /// When the password was proved.
    pub created_at: OffsetDateTime,
    /// The absolute end.
    pub ends_at: OffsetDateTime,
    /// Where the sign-in came from, for the list of devices.
    pub address: &'a str,
    /// What signed in, in its own words.
    pub agent: Option<&'a str>,
}

/// A live session, as its user sees it.
#[derive(Debug, Clone)]
pub struct Device {
    /// The session.
    pub sid: Uuid,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it ends at the latest.
    pub ends_at: OffsetDateTime,
    /// Where it began.
    pub address: Option<String>,
    /// What began it, in its own words.
    pub agent: Option<String>,
}

/// Inserts the session if the user's password, generation and standing are still those that were checked.
pub(super) async fn insert(db: &mut Connection, user: &StoredUser, session: &NewSession<'_>) -> Result<bool, Error> {
    let params: super::Params = &[
        &user.account.id,
        &user.password_hash,
        &user.generation,
        &session.sid,
        &session.client_id,
        &session.scope,
        &session.created_at,
        &session.ends_at,
        &session.address,
        &session.agent,
    ];
    Ok(db.change(INSERT, params).await? == 1)
}

/// Ends all sessions of the user but one; returns those that it ended.
pub(super) async fn end_others(db: &mut Connection, user: Uuid, keep: Uuid, reason: &str) -> Result<Vec<Uuid>, Error> {
    let ended = db.all(END_OTHERS, &[&user, &keep, &reason]).await?;
    Ok(ended.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Ends all sessions of the user.
pub(super) async fn end_all(db: &mut Connection, user: Uuid, reason: &str) -> Result<u64, Error> {
    db.change(END_ALL, &[&user, &reason]).await
}

impl Postgres {
    /// Signs in, if the user's password, generation and standing are still those that were checked; whether it did.
    pub async fn open_session(&self, user: &StoredUser, session: &NewSession<'_>) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        insert(&mut db, user, session).await
    }

    /// Ends the session; one that has ended keeps its time and reason.
    pub async fn end_session(&self, sid: Uuid, reason: &str) -> Result<(), Error> {
        self.connection().await?.change(END, &[&sid, &reason]).await.map(drop)
    }

    /// The live sessions of the user.
    pub async fn list_sessions(&self, user: Uuid) -> Result<Vec<Device>, Error> {
        let rows = self.connection().await?.all(LIST, &[&user]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Device, Error> {
    Ok(Device {
        sid: row.try_get("sid")?,
        created_at: row.try_get("created_at")?,
        ends_at: row.try_get("ends_at")?,
        address: row.try_get("address")?,
        agent: row.try_get("agent")?,
    })
}
