//! What the record keeps about leases: the longest one ever, and who builds the revocation log
//! anew.

use std::time::{Duration, Instant};

use crate::{
    error::Error,
    postgres::{Connection, Postgres},
};

const RAISE: &str = include_str!("../../sql/queries/update_max_lease.sql");
const KEEP_LOCK: &str = include_str!("../../sql/queries/set_log_lock_timeout.sql");
const TRY_LOCK: &str = include_str!("../../sql/queries/try_log_lock.sql");

/// An arbitrary number that stands for "building Latchkey's log" among the advisory locks of the
/// database.
const LOCK: i64 = 0x4c41_5443_484c_4f47;

/// The right to build the log, which no other replica has meanwhile. It ends with this value, and
/// some seconds after its process was last heard of.
pub struct RebuildLock {
    db: Connection,
    timeout: Duration,
}

impl RebuildLock {
    /// Keeps it for some seconds more.
    pub async fn keep(&mut self) -> Result<(), Error> {
        self.db.deadline = Instant::now() + self.timeout;
        self.db.batch("select 1").await
    }

    /// Gives it up.
    pub async fn end(mut self) -> Result<(), Error> {
        self.db.deadline = Instant::now() + self.timeout;
        self.db.roll_back().await
    }
}

impl Postgres {
    /// The right to build the log; nothing where somebody else has it.
    pub async fn lock_log(&self) -> Result<Option<RebuildLock>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db.first(TRY_LOCK, &[&LOCK]).await?;
        if row
            .ok_or_else(|| Error::internal("a lock returned no row"))?
            .try_get(0)?
        {
            db.batch(KEEP_LOCK).await?;
            return Ok(Some(RebuildLock {
                db,
                timeout: self.timeout,
            }));
        }
        db.roll_back().await?;
        Ok(None)
    }

    /// Says that a lease of this length is about to come into force; the longest one that may be
    /// out there already.
    pub async fn update_max_lease(&self, lease: Duration) -> Result<Duration, Error> {
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let row = self.connection().await?.first(RAISE, &[&lease]).await?;
        let before: Option<i64> = row
            .ok_or_else(|| Error::internal("the table of settings is empty"))?
            .try_get(0)?;
        Ok(Duration::from_millis(
            before
                .and_then(|before| u64::try_from(before).ok())
                .unwrap_or(0),
        ))
    }
}
