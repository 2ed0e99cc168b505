//! The ladder of a check: memory while there is a lease; else Redis, if it has an epoch; else the
//! record. Who finds none of them is told to come back: nothing passes because a store cannot
//! answer.

use std::sync::LazyLock;

use latchkey_domain::revocation::{
    RevocationKeys,
    lease::{CheckSource, LogHealth, source_without_lease},
};
use metrics::Counter;

use crate::{
    app::{Gateway, clock},
    error::{Chain, Error},
    redis::LookupOutcome,
};

static BY_MEMORY: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Memory));
static BY_REDIS: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Redis));
static BY_POSTGRES: LazyLock<Counter> = LazyLock::new(|| check_counter(CheckSource::Postgres));
static BY_UNAVAILABLE: LazyLock<Counter> =
    LazyLock::new(|| check_counter(CheckSource::Unavailable));

fn check_counter(by: CheckSource) -> Counter {
    metrics::counter!("latchkey_checks_total", "source" => by.as_str())
}

impl Gateway {
    /// Whether a token was taken back.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub(crate) async fn is_revoked(&self, marks: &RevocationKeys) -> Result<bool, Error> {
        let known = self
            .revocations
            .set
            .read_if_leased(clock::uptime(), |memory| memory.is_revoked(marks));
        if let Some(is_revoked) = known {
            BY_MEMORY.increment(1);
            return Ok(is_revoked);
        }
        // Rare, and large: no check needs to have room for it.
        Box::pin(self.check_stores(marks)).await
    }

    async fn check_stores(&self, marks: &RevocationKeys) -> Result<bool, Error> {
        match source_without_lease(self.revocations.sight()) {
            CheckSource::Redis => match self.redis.find_revocations(marks).await {
                Ok(LookupOutcome::NotListed) => {
                    BY_REDIS.increment(1);
                    return Ok(false);
                }
                Ok(LookupOutcome::Listed(_)) => {
                    BY_REDIS.increment(1);
                    return Ok(true);
                }
                Ok(LookupOutcome::LogLost) => self.revocations.saw(LogHealth::Lost),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "revocation check in Redis failed");
                    self.revocations.saw(LogHealth::Unreachable);
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
        let answer = self.check_postgres(marks).await;
        if answer.is_ok() {
            BY_POSTGRES.increment(1)
        } else {
            BY_UNAVAILABLE.increment(1)
        }
        answer
    }

    async fn check_postgres(&self, marks: &RevocationKeys) -> Result<bool, Error> {
        let _place = self
            .revocations
            .postgres_checks
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.postgres.is_revoked(marks).await
    }
}
