//! Tidying up: what is over goes, in small batches, by one replica at a time; and the months of the
//! audit are made ahead.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, signing_keys},
};

const TRY_LOCK: &str = include_str!("../../sql/queries/try_cleanup_lock.sql");
const DELETE_SESSIONS: &str = include_str!("../../sql/queries/delete_expired_sessions.sql");
const DELETE_MAILS: &str = include_str!("../../sql/queries/delete_sent_emails.sql");
const DELETE_REVOCATIONS: &str = include_str!("../../sql/queries/delete_expired_revocations.sql");
const DELETE_PERSONAL_TOKENS: &str =
    include_str!("../../sql/queries/delete_expired_personal_access_tokens.sql");
const DELETE_AUDIT: &str = include_str!("../../sql/queries/delete_expired_audit_events.sql");
const MAKE_MONTHS: &str = include_str!("../../sql/queries/create_audit_partitions.sql");
const KEEP_AUDIT_SINCE: &str = include_str!("../../sql/queries/set_audit_retention.sql");
const DROP_MONTHS: &str = include_str!("../../sql/queries/drop_audit_partitions.sql");

/// Advisory lock of the cleanup worker ("LATCHCLN").
const LOCK: i64 = 0x4c41_5443_4843_4c4e;

/// Rows of one statement: it holds them only for a moment.
pub const BATCH: i64 = 1_000;

/// What can be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredRows {
    /// Sessions that ended long since.
    Sessions,
    /// Mails that were sent.
    Mails,
    /// Revocations of what is dead by now.
    Revocations,
    /// Personal access tokens that ended long since.
    PersonalTokens,
    /// Events outside of the months.
    Audit,
    /// Signing keys whose last token is dead.
    Keys,
}

impl ExpiredRows {
    /// All of it.
    pub const ALL: [ExpiredRows; 6] = [
        Self::Sessions,
        Self::Mails,
        Self::Revocations,
        Self::PersonalTokens,
        Self::Audit,
        Self::Keys,
    ];

    /// Its name, for the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            ExpiredRows::Sessions => "sessions",
            ExpiredRows::Mails => "emails",
            ExpiredRows::Revocations => "revocations",
            ExpiredRows::PersonalTokens => "personal_access_tokens",
            ExpiredRows::Audit => "audit_events",
            ExpiredRows::Keys => "signing_keys",
        }
    }
}

impl Postgres {
    /// Deletes one batch of what is over; how many rows it had, or nothing where another replica is
    /// tidying up. `retention` is how long events are kept; revocations up to `published` have
    /// reached Redis.
    pub async fn purge_expired(
        &self,
        of: ExpiredRows,
        retention: Duration,
        published: OffsetDateTime,
    ) -> Result<Option<u64>, Error> {
        let Some(mut db) = self.begin_tidying().await? else {
            return Ok(None);
        };
        let deleted = match of {
            ExpiredRows::Sessions => db.change(DELETE_SESSIONS, &[&BATCH]).await?,
            ExpiredRows::Mails => db.change(DELETE_MAILS, &[&BATCH]).await?,
            ExpiredRows::Revocations => {
                db.change(DELETE_REVOCATIONS, &[&BATCH, &published]).await?
            }
            ExpiredRows::PersonalTokens => db.change(DELETE_PERSONAL_TOKENS, &[&BATCH]).await?,
            ExpiredRows::Audit => {
                db.change(DELETE_AUDIT, &[&retention.as_secs_f64(), &BATCH])
                    .await?
            }
            ExpiredRows::Keys => signing_keys::delete_gone(&mut db).await?,
        };
        db.commit().await?;
        Ok(Some(deleted))
    }

    /// Makes the partitions of the months ahead, unless another replica is about it.
    pub async fn create_audit_partitions(&self) -> Result<(), Error> {
        let Some(mut db) = self.begin_tidying().await? else {
            return Ok(());
        };
        db.batch(MAKE_MONTHS).await?;
        db.commit().await
    }

    /// Drops the partitions of months that are older than what is kept; how many, or nothing where
    /// another replica is tidying up.
    pub async fn drop_audit_partitions(&self, retention: Duration) -> Result<Option<u64>, Error> {
        let Some(mut db) = self.begin_tidying().await? else {
            return Ok(None);
        };
        let row = db
            .first(KEEP_AUDIT_SINCE, &[&retention.as_secs_f64()])
            .await?;
        let count: i64 = row
            .ok_or_else(|| Error::internal("a count returned no row"))?
            .try_get(1)?;
        if count > 0 {
            db.batch(DROP_MONTHS).await?;
        }
        db.commit().await?;
        Ok(Some(u64::try_from(count).unwrap_or(0)))
    }

    /// A transaction that holds the lock of the janitor to its end.
    async fn begin_tidying(&self) -> Result<Option<Connection>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db.first(TRY_LOCK, &[&LOCK]).await?;
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
