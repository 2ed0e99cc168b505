//! What was taken back, until every token that it concerns is dead.

use latchkey_domain::{
    audit::AuditEvent,
    revocation::{ENTRY_SECONDS, Reason, Revocation, RevocationBatch, TOKEN_MARGIN_SECONDS},
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, Postgres, StoredUser, audit};
use crate::{error::Error, postgres::users};

const INSERT: &str = include_str!("../../sql/queries/insert_revocations.sql");
const IS_REVOKED: &str = include_str!("../../sql/queries/is_token_revoked.sql");
const LIST: &str = include_str!("../../sql/queries/list_revocations.sql");
const FIND_DELETION: &str = include_str!("../../sql/queries/find_user_deletion.sql");
const LIST_CHANGED: &str = include_str!("../../sql/queries/list_changed_identities.sql");
const READ_CLOCK: &str = include_str!("../../sql/queries/read_clock.sql");

/// Rows of one page.
const PAGE: i64 = 1_000;

/// A row: one thing that was taken back, and when.
#[derive(Debug, Clone)]
pub struct StoredRevocation {
    /// Whose account it was of; a client or a key is nobody's.
    pub sub: Option<Uuid>,
    /// Why.
    pub reason: Reason,
    /// What.
    pub entry: Revocation,
    position: (OffsetDateTime, String, String),
}

impl StoredRevocation {
    /// It as something that ended.
    pub fn ending(&self) -> RevocationBatch {
        RevocationBatch {
            sub: self.sub,
            reason: self.reason,
            entries: vec![self.entry],
        }
    }
}

/// Records what a transaction takes back. Nothing counts as revoked before this is committed.
pub(super) async fn record(db: &mut Connection, ending: &RevocationBatch) -> Result<(), Error> {
    if ending.entries.is_empty() {
        return Ok(());
    }
    // In one order, so that two of these never wait for each other.
    let mut entries: Vec<_> = ending.entries.iter().map(columns).collect();
    entries.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.0).collect();
    let subjects: Vec<&str> = entries.iter().map(|entry| entry.1.as_str()).collect();
    let below: Vec<Option<i64>> = entries.iter().map(|entry| entry.2).collect();
    let ends: Vec<Option<f64>> = entries.iter().map(|entry| entry.3).collect();
    let params: super::Params = &[
        &ending.sub,
        &ending.reason.as_str(),
        &(ENTRY_SECONDS as f64),
        &kinds,
        &subjects,
        &below,
        &ends,
    ];
    db.change(INSERT, params).await.map(drop)
}

/// Kind, subject, generation, and the end where the entry itself says it.
fn columns(entry: &Revocation) -> (&'static str, String, Option<i64>, Option<f64>) {
    match entry {
        Revocation::Session { sid } => (entry.kind(), sid.to_string(), None, None),
        Revocation::User { sub: id, below } | Revocation::Client { id, below } => {
            (entry.kind(), id.to_string(), Some(*below), None)
        }
        Revocation::Token { jti, exp } => (
            entry.kind(),
            jti.to_string(),
            None,
            Some((exp + TOKEN_MARGIN_SECONDS) as f64),
        ),
        Revocation::PersonalToken { id } => (entry.kind(), id.to_string(), None, None),
        Revocation::Key { kid } => (entry.kind(), kid.to_string(), None, None),
    }
}

impl Postgres {
    /// The record's clock.
    pub async fn read_clock(&self) -> Result<OffsetDateTime, Error> {
        let row = self.connection().await?.first(READ_CLOCK, &[]).await?;
        Ok(row
            .ok_or_else(|| Error::internal("the clock of PostgreSQL returned no time"))?
            .try_get(0)?)
    }

    /// Takes a single access token back, and records the event. One that was taken back before is
    /// no event.
    pub async fn revoke_token(
        &self,
        jti: Uuid,
        ending: &RevocationBatch,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db.first(IS_REVOKED, &[&jti.to_string()]).await?.is_none() {
            record(&mut db, ending).await?;
            audit::insert(&mut db, event).await?;
        }
        db.commit().await
    }

    /// A page of what was taken back after a moment, or after a row; an empty one is the last.
    pub async fn list_revocations(
        &self,
        moment: OffsetDateTime,
        last: Option<&StoredRevocation>,
    ) -> Result<Vec<StoredRevocation>, Error> {
        let first = (moment, String::new(), String::new());
        let (at, kind, subject) = last.map_or(&first, |row| &row.position);
        let rows = self
            .connection()
            .await?
            .all(LIST, &[at, kind, subject, &PAGE])
            .await?;
        rows.iter().map(read).collect()
    }

    /// What ended with this account, if it was deleted a while ago.
    pub async fn find_user_deletion(&self, user: Uuid) -> Result<Option<RevocationBatch>, Error> {
        let reason = Reason::AccountDeleted;
        let row = self
            .connection()
            .await?
            .first(FIND_DELETION, &[&user.to_string(), &reason.as_str()])
            .await?;
        let below: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(below.map(|below| RevocationBatch::of_user(user, below, reason)))
    }

    /// A page of those whose identity changed after a moment, or after that of a user; an empty one
    /// is the last.
    pub async fn list_changed_identities(
        &self,
        (moment, id): (OffsetDateTime, Uuid),
    ) -> Result<Vec<(OffsetDateTime, StoredUser)>, Error> {
        let rows = self
            .connection()
            .await?
            .all(LIST_CHANGED, &[&moment, &id, &PAGE])
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("identity_changed_at")?, users::read(row)?)))
            .collect()
    }
}

fn read(row: &Row) -> Result<StoredRevocation, Error> {
    let unknown = || Error::internal("an unknown kind of revocation is stored");
    let (kind, subject, reason): (String, String, &str) = (
        row.try_get("kind")?,
        row.try_get("subject_id")?,
        row.try_get("reason")?,
    );
    let id = || subject.parse::<Uuid>().map_err(|_| unknown());
    let ends_at: i64 = row.try_get("expires_at")?;
    let exp = u64::try_from(ends_at)
        .unwrap_or(0)
        .saturating_sub(TOKEN_MARGIN_SECONDS);
    let entry = match kind.as_str() {
        "session" => Revocation::Session { sid: id()? },
        "user" => Revocation::User {
            sub: id()?,
            below: row.try_get("min_generation")?,
        },
        "client" => Revocation::Client {
            id: id()?,
            below: row.try_get("min_generation")?,
        },
        // Also of a personal token: the row says until when it matters.
        "token" => Revocation::Token { jti: id()?, exp },
        "key" => Revocation::Key {
            kid: subject.parse().map_err(|_| unknown())?,
        },
        _other => return Err(unknown()),
    };
    Ok(StoredRevocation {
        sub: row.try_get("user_id")?,
        // A newer replica may know more reasons; what it took back is taken back all the same.
        reason: Reason::from_name(reason).unwrap_or(Reason::Revoked),
        entry,
        position: (row.try_get("revoked_at")?, kind, subject),
    })
}
