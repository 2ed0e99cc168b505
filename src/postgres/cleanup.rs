//! Statements of the cleanup worker: deletes expired rows in small batches, by one replica at a
//! time, and creates and drops the monthly partitions of `audit_events`.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};
use time::OffsetDateTime;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, signing_keys},
};

const TRY_CLEANUP_LOCK: &str = include_str!("../../sql/queries/try_cleanup_lock.sql");
const DELETE_EXPIRED_SESSIONS: &str = include_str!("../../sql/queries/delete_expired_sessions.sql");
const DELETE_SENT_EMAILS: &str = include_str!("../../sql/queries/delete_sent_emails.sql");
const DELETE_EXPIRED_NAMES: &str = include_str!("../../sql/queries/delete_expired_names.sql");
const DELETE_EXPIRED_REVOCATIONS: &str =
    include_str!("../../sql/queries/delete_expired_revocations.sql");
const DELETE_EXPIRED_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/delete_expired_personal_access_tokens.sql");
const DELETE_EXPIRED_AUDIT_EVENTS: &str =
    include_str!("../../sql/queries/delete_expired_audit_events.sql");
const CREATE_AUDIT_PARTITIONS: &str = include_str!("../../sql/queries/create_audit_partitions.sql");
const DROP_AUDIT_PARTITIONS: &str = include_str!("../../sql/queries/drop_audit_partitions.sql");

/// ID of the advisory lock of the cleanup worker (ASCII "LATCHCLN").
const CLEANUP_LOCK_ID: i64 = 0x4c41_5443_4843_4c4e;

/// Maximum number of rows per statement. A small batch releases its row locks soon.
pub const CLEANUP_BATCH_SIZE: i64 = 1_000;

/// A kind of rows that expire. Its text is the value of the label `kind` in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ExpiredRows {
    /// Sessions that expired or were revoked more than 30 days ago.
    Sessions,
    /// Emails that were sent, or whose code was used, more than a day ago. Unused invitations stay
    /// until they expire.
    Emails,
    /// Released names that another user can take.
    ReservedNames,
    /// Revocations all of whose tokens have expired.
    Revocations,
    /// Personal access tokens that expired more than 30 days ago.
    PersonalAccessTokens,
    /// Audit events in the default partition that are older than the retention period.
    AuditEvents,
    /// Signing keys all of whose tokens have expired.
    SigningKeys,
}

impl Postgres {
    /// Deletes one batch of expired rows and returns its size; `None` if another replica holds the
    /// cleanup lock.
    ///
    /// Audit events are kept for `retention`. All revocations up to `published` are published in
    /// Redis.
    pub async fn purge_expired(
        &self,
        kind: ExpiredRows,
        retention: Duration,
        published: OffsetDateTime,
    ) -> Result<Option<u64>, Error> {
        let Some(mut db) = self.begin_cleanup().await? else {
            return Ok(None);
        };
        let deleted = match kind {
            ExpiredRows::Sessions => {
                db.execute(DELETE_EXPIRED_SESSIONS, &[&CLEANUP_BATCH_SIZE])
                    .await?
            }
            ExpiredRows::Emails => {
                db.execute(DELETE_SENT_EMAILS, &[&CLEANUP_BATCH_SIZE])
                    .await?
            }
            ExpiredRows::ReservedNames => {
                db.execute(DELETE_EXPIRED_NAMES, &[&CLEANUP_BATCH_SIZE])
                    .await?
            }
            ExpiredRows::Revocations => {
                db.execute(
                    DELETE_EXPIRED_REVOCATIONS,
                    &[&CLEANUP_BATCH_SIZE, &published],
                )
                .await?
            }
            ExpiredRows::PersonalAccessTokens => {
                db.execute(
                    DELETE_EXPIRED_PERSONAL_ACCESS_TOKENS,
                    &[&CLEANUP_BATCH_SIZE],
                )
                .await?
            }
            ExpiredRows::AuditEvents => {
                db.execute(
                    DELETE_EXPIRED_AUDIT_EVENTS,
                    &[&retention.as_secs_f64(), &CLEANUP_BATCH_SIZE],
                )
                .await?
            }
            ExpiredRows::SigningKeys => signing_keys::delete_expired(&mut db).await?,
        };
        db.commit().await?;
        Ok(Some(deleted))
    }

    /// Creates the audit partitions of this month and the next two, unless another replica holds
    /// the cleanup lock.
    pub async fn create_audit_partitions(&self) -> Result<(), Error> {
        let Some(mut db) = self.begin_cleanup().await? else {
            return Ok(());
        };
        db.query(CREATE_AUDIT_PARTITIONS, &[]).await?;
        db.commit().await
    }

    /// Drops audit partitions older than the retention period and returns their number; `None` if
    /// another replica holds the cleanup lock.
    pub async fn drop_audit_partitions(&self, retention: Duration) -> Result<Option<u64>, Error> {
        let Some(mut db) = self.begin_cleanup().await? else {
            return Ok(None);
        };
        let row = db
            .query_first(DROP_AUDIT_PARTITIONS, &[&retention.as_secs_f64()])
            .await?;
        let dropped: i64 = row
            .ok_or_else(|| Error::internal("a count returned no row"))?
            .try_get(0)?;
        db.commit().await?;
        Ok(Some(u64::try_from(dropped).unwrap_or(0)))
    }

    /// Begins a transaction that holds the cleanup lock; `None` if another replica holds it.
    async fn begin_cleanup(&self) -> Result<Option<Connection>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db
            .query_first(TRY_CLEANUP_LOCK, &[&CLEANUP_LOCK_ID])
            .await?;
        if row
            .ok_or_else(|| Error::internal("a lock returned no row"))?
            .try_get(0)?
        {
            return Ok(Some(db));
        }
        db.roll_back().await?;
        Ok(None)
    }
}
