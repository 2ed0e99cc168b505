//! Revocation checks: from memory with a lease, otherwise from Redis if its log is complete,
//! otherwise from PostgreSQL. If no source can decide, the check fails with a 503.

use std::sync::LazyLock;

use latchkey_domain::revocation::{
    RevocationKeys,
    lease::{CheckSource, LogHealth, source_without_lease},
};
use metrics::Counter;
use uuid::Uuid;

use super::Revocations;
use crate::{
    app::clock,
    error::{Chain, Error},
    redis::LookupOutcome,
};

static BY_MEMORY: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Memory));
static BY_REDIS: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Redis));
static BY_POSTGRES: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Postgres));
static BY_UNAVAILABLE: LazyLock<Counter> =
    LazyLock::new(|| check_counter(CheckSource::Unavailable));

fn check_counter(source: CheckSource) -> Counter {
    metrics::counter!("latchkey_checks_total", "source" => source.as_str())
}

impl Revocations {
    /// Returns whether a token is revoked.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub(crate) async fn is_revoked(&self, keys: &RevocationKeys) -> Result<bool, Error> {
        let from_memory = self
            .set
            .read_if_leased(clock::boot_time(), |set| set.is_revoked(keys));
        if let Some(is_revoked) = from_memory {
            BY_MEMORY.increment(1);
            return Ok(is_revoked);
        }
        // Boxed: cold path, keeps the caller's future small.
        Box::pin(self.check_stores(keys)).await
    }

    /// Returns whether cached claims with this version of a user's identity can be used.
    ///
    /// Without a lease, this replica might lack a change of the identity.
    pub(crate) fn is_identity_current(&self, user_id: Uuid, cached_version: i64) -> bool {
        self.set
            .read_if_leased(clock::boot_time(), |set| {
                set.is_identity_current(user_id, cached_version)
            })
            .unwrap_or(false)
    }

    async fn check_stores(&self, keys: &RevocationKeys) -> Result<bool, Error> {
        match source_without_lease(self.log_health()) {
            CheckSource::Redis => match self.redis.find_revocations(keys).await {
                Ok(LookupOutcome::NotListed) => {
                    BY_REDIS.increment(1);
                    // Redis lacks revocations that are committed and not published yet.
                    return Ok(self.set.set().is_revoked(keys));
                }
                Ok(LookupOutcome::Listed(_)) => {
                    BY_REDIS.increment(1);
                    return Ok(true);
                }
                Ok(LookupOutcome::LogLost) => self.set_log_health(LogHealth::Lost),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "revocation check in Redis failed");
                    self.set_log_health(LogHealth::Unreachable);
                }
            },
            CheckSource::Unavailable => {
                BY_UNAVAILABLE.increment(1);
                return Err(Error::unavailable(
                    "the revocation log contains entries that a newer version of Latchkey wrote",
                ));
            }
            CheckSource::Memory | CheckSource::Postgres => {}
        }
        let outcome = self.check_postgres(keys).await;
        if outcome.is_ok() {
            BY_POSTGRES.increment(1)
        } else {
            BY_UNAVAILABLE.increment(1)
        }
        outcome
    }

    async fn check_postgres(&self, keys: &RevocationKeys) -> Result<bool, Error> {
        let _permit = self
            .postgres_checks
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.postgres.is_revoked(keys).await
    }
}
