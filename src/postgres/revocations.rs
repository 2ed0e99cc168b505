//! Revocations, which are kept until all tokens that they concern have expired.

use crate::{error::Error, postgres::stored_user::read_user};
use latchkey_domain::{
    audit::AuditEvent,
    revocation::{
        ENTRY_SECONDS, Revocation, RevocationBatch, RevocationReason, TOKEN_MARGIN_SECONDS,
    },
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, Postgres, StoredUser, audit};

const INSERT_REVOCATIONS: &str = include_str!("../../sql/queries/insert_revocations.sql");
const IS_TOKEN_REVOKED: &str = include_str!("../../sql/queries/is_token_revoked.sql");
const LIST_REVOCATIONS: &str = include_str!("../../sql/queries/list_revocations.sql");
const FIND_USER_DELETION: &str = include_str!("../../sql/queries/find_user_deletion.sql");
const LIST_CHANGED_IDENTITIES: &str = include_str!("../../sql/queries/list_changed_identities.sql");
const READ_CLOCK: &str = include_str!("../../sql/queries/read_clock.sql");

/// Number of rows per page.
const PAGE_SIZE: i64 = 1_000;

/// A row of `revocations`.
#[derive(Debug, Clone)]
pub struct StoredRevocation {
    /// The affected user; `None` for an OAuth client or a signing key.
    pub user_id: Option<Uuid>,
    pub reason: RevocationReason,
    pub revocation: Revocation,
    /// The pagination key: `revoked_at`, `kind`, and `subject_id`.
    position: (OffsetDateTime, String, String),
}

impl StoredRevocation {
    /// Returns a batch that contains only this revocation.
    pub fn to_batch(&self) -> RevocationBatch {
        RevocationBatch {
            user_id: self.user_id,
            reason: self.reason,
            revocations: vec![self.revocation],
        }
    }
}

/// Inserts the revocations of a transaction. They take effect when the transaction commits.
pub(super) async fn insert(db: &mut Connection, batch: &RevocationBatch) -> Result<(), Error> {
    if batch.revocations.is_empty() {
        return Ok(());
    }
    // The order is the same in all transactions, to avoid deadlocks.
    let mut rows: Vec<_> = batch.revocations.iter().map(columns).collect();
    rows.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let kinds: Vec<&str> = rows.iter().map(|row| row.0).collect();
    let subjects: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    let min_generations: Vec<Option<i64>> = rows.iter().map(|row| row.2).collect();
    let expiries: Vec<Option<f64>> = rows.iter().map(|row| row.3).collect();
    let params: super::Params = &[
        &batch.user_id,
        &batch.reason.as_str(),
        &(ENTRY_SECONDS as f64),
        &kinds,
        &subjects,
        &min_generations,
        &expiries,
    ];
    db.execute(INSERT_REVOCATIONS, params).await.map(drop)
}

/// Returns the kind, the subject, the minimum generation, and the expiry (s since the Unix epoch)
/// if the revocation contains one.
fn columns(revocation: &Revocation) -> (&'static str, String, Option<i64>, Option<f64>) {
    let (min_generation, expires_at) = match revocation {
        Revocation::User { below, .. } | Revocation::Client { below, .. } => (Some(*below), None),
        Revocation::Token { exp, .. } => (None, Some((exp + TOKEN_MARGIN_SECONDS) as f64)),
        Revocation::Session { .. }
        | Revocation::PersonalAccessToken { .. }
        | Revocation::Key { .. } => (None, None),
    };
    let subject = revocation.subject();
    (subject.kind(), subject.id(), min_generation, expires_at)
}

impl Postgres {
    /// Returns the time of PostgreSQL's clock.
    pub async fn read_clock(&self) -> Result<OffsetDateTime, Error> {
        let row = self
            .connection()
            .await?
            .query_first(READ_CLOCK, &[])
            .await?;
        Ok(row
            .ok_or_else(|| Error::internal("the clock of PostgreSQL returned no time"))?
            .try_get(0)?)
    }

    /// Revokes a single access token, with an audit event. A repeated revocation changes nothing
    /// and creates no event.
    pub async fn revoke_token(
        &self,
        jti: Uuid,
        batch: &RevocationBatch,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db
            .query_first(IS_TOKEN_REVOKED, &[&jti.to_string()])
            .await?
            .is_none()
        {
            insert(&mut db, batch).await?;
            audit::insert(&mut db, event).await?;
        }
        db.commit().await
    }

    /// Lists a page of revocations after the row `last`, or after the time `since` if `last` is
    /// `None`. An empty page is the last.
    pub async fn list_revocations(
        &self,
        since: OffsetDateTime,
        last: Option<&StoredRevocation>,
    ) -> Result<Vec<StoredRevocation>, Error> {
        let start = (since, String::new(), String::new());
        let (at, kind, subject) = last.map_or(&start, |row| &row.position);
        let rows = self
            .connection()
            .await?
            .query(LIST_REVOCATIONS, &[at, kind, subject, &PAGE_SIZE])
            .await?;
        rows.iter().map(read_revocation).collect()
    }

    /// Returns the revocation of a recently deleted user.
    pub async fn find_user_deletion(
        &self,
        user_id: Uuid,
    ) -> Result<Option<RevocationBatch>, Error> {
        let reason = RevocationReason::UserDeleted;
        let row = self
            .connection()
            .await?
            .query_first(
                FIND_USER_DELETION,
                &[&user_id.to_string(), &reason.as_str()],
            )
            .await?;
        let min_generation: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(min_generation.map(|generation| RevocationBatch::of_user(user_id, generation, reason)))
    }

    /// Lists a page of users whose identity changed after a position: the time of a change, and the
    /// ID of the user. An empty page is the last.
    pub async fn list_changed_identities(
        &self,
        (since, last_user): (OffsetDateTime, Uuid),
    ) -> Result<Vec<(OffsetDateTime, StoredUser)>, Error> {
        let rows = self
            .connection()
            .await?
            .query(LIST_CHANGED_IDENTITIES, &[&since, &last_user, &PAGE_SIZE])
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("identity_changed_at")?, read_user(row)?)))
            .collect()
    }
}

fn read_revocation(row: &Row) -> Result<StoredRevocation, Error> {
    let unknown_kind = || Error::internal("an unknown kind of revocation is stored");
    let (kind, subject, reason): (String, String, &str) = (
        row.try_get("kind")?,
        row.try_get("subject_id")?,
        row.try_get("reason")?,
    );
    let id = || subject.parse::<Uuid>().map_err(|_| unknown_kind());
    let expires_at: i64 = row.try_get("expires_at")?;
    let exp = u64::try_from(expires_at)
        .unwrap_or(0)
        .saturating_sub(TOKEN_MARGIN_SECONDS);
    let revocation = match kind.as_str() {
        "session" => Revocation::Session { session_id: id()? },
        "user" => Revocation::User {
            user_id: id()?,
            below: row.try_get("min_generation")?,
        },
        "client" => Revocation::Client {
            id: id()?,
            below: row.try_get("min_generation")?,
        },
        // Personal access tokens share this kind, and the expiry comes from the row.
        "token" => Revocation::Token { jti: id()?, exp },
        "key" => Revocation::Key {
            kid: subject.parse().map_err(|_| unknown_kind())?,
        },
        _other => return Err(unknown_kind()),
    };
    Ok(StoredRevocation {
        user_id: row.try_get("user_id")?,
        // A newer replica can store reasons that this version lacks. The revocation still applies.
        reason: reason.parse().unwrap_or(RevocationReason::Revoked),
        revocation,
        position: (row.try_get("revoked_at")?, kind, subject),
    })
}
