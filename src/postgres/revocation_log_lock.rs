//! The lock of the rebuilder of the revocation log, and the maximum lease length.

use std::time::{Duration, Instant};

use crate::{
    error::Error,
    postgres::{Connection, Postgres},
};

const UPDATE_MAX_LEASE: &str = include_str!("../../sql/queries/update_max_lease.sql");
const SET_LOG_LOCK_TIMEOUT: &str = include_str!("../../sql/queries/set_log_lock_timeout.sql");
const TRY_LOG_LOCK: &str = include_str!("../../sql/queries/try_log_lock.sql");

/// ID of the advisory lock of the rebuilder (ASCII "LATCHLOG").
const REBUILD_LOCK_ID: i64 = 0x4c41_5443_484c_4f47;

/// The exclusive right to rebuild the revocation log.
///
/// Dropping the value releases the lock. If the process hangs, PostgreSQL releases the lock ten
/// seconds after the last statement.
pub struct RebuildLock {
    db: Connection,
    timeout: Duration,
}

impl RebuildLock {
    /// Resets the idle timeout, after which PostgreSQL would release the lock.
    pub async fn extend(&mut self) -> Result<(), Error> {
        self.db.deadline = Instant::now() + self.timeout;
        self.db.batch_execute("select 1").await
    }

    /// Releases the lock.
    pub async fn release(mut self) -> Result<(), Error> {
        self.db.deadline = Instant::now() + self.timeout;
        self.db.roll_back().await
    }
}

impl Postgres {
    /// Acquires the lock of the rebuilder; `None` if another replica holds it.
    pub async fn lock_log(&self) -> Result<Option<RebuildLock>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db.query_first(TRY_LOG_LOCK, &[&REBUILD_LOCK_ID]).await?;
        if row
            .ok_or_else(|| Error::internal("a lock returned no row"))?
            .try_get(0)?
        {
            db.batch_execute(SET_LOG_LOCK_TIMEOUT).await?;
            return Ok(Some(RebuildLock {
                db,
                timeout: self.timeouts.transaction,
            }));
        }
        db.roll_back().await?;
        Ok(None)
    }

    /// Raises the stored maximum lease length, before a lease of this length takes effect. Returns
    /// the previous maximum, or zero: no lease that is still valid is longer.
    pub async fn update_max_lease(&self, lease: Duration) -> Result<Duration, Error> {
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let row = self
            .connection()
            .await?
            .query_first(UPDATE_MAX_LEASE, &[&lease])
            .await?;
        let previous: Option<i64> = row
            .ok_or_else(|| Error::internal("the table of settings is empty"))?
            .try_get(0)?;
        Ok(Duration::from_millis(
            previous
                .and_then(|previous| u64::try_from(previous).ok())
                .unwrap_or(0),
        ))
    }
}
