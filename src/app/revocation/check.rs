//! The ladder of a check: memory while there is a lease; else Redis, if it has an epoch; else the
//! record. Who finds none of them is told to come back: nothing passes because a store cannot
//! answer.

use std::sync::LazyLock;

use latchkey_domain::revocation::{
    Marks,
    lease::{Rung, Sight, rung_without_lease},
};
use metrics::Counter;

use crate::{
    app::{Gateway, clock},
    error::{Chain, Error},
    redis::Found,
};

static BY_MEMORY: LazyLock<Counter> = LazyLock::new(|| answered(Rung::Memory));
static BY_REDIS: LazyLock<Counter> = LazyLock::new(|| answered(Rung::Redis));
static BY_RECORD: LazyLock<Counter> = LazyLock::new(|| answered(Rung::Record));
static BY_NOBODY: LazyLock<Counter> = LazyLock::new(|| answered(Rung::Nobody));

fn answered(by: Rung) -> Counter {
    metrics::counter!("latchkey_checks_total", "source" => by.as_str())
}

impl Gateway {
    /// Whether a token was taken back.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub(crate) async fn is_revoked(&self, marks: &Marks) -> Result<bool, Error> {
        let known = self
            .revocations
            .cell
            .ask(clock::uptime(), |memory| memory.refuses(marks));
        if let Some(refuses) = known {
            BY_MEMORY.increment(1);
            return Ok(refuses);
        }
        // Rare, and large: no check needs to have room for it.
        Box::pin(self.ask_stores(marks)).await
    }

    async fn ask_stores(&self, marks: &Marks) -> Result<bool, Error> {
        match rung_without_lease(self.revocations.sight()) {
            Rung::Redis => match self.speed.find_revocations(marks).await {
                Ok(Found::Nothing) => {
                    BY_REDIS.increment(1);
                    return Ok(false);
                }
                Ok(Found::Refused(_)) => {
                    BY_REDIS.increment(1);
                    return Ok(true);
                }
                Ok(Found::Lost) => self.revocations.saw(Sight::Lost),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "revocation check in Redis failed");
                    self.revocations.saw(Sight::Silent);
                }
            },
            Rung::Nobody => {
                BY_NOBODY.increment(1);
                return Err(Error::unavailable(
                    "the revocation log contains entries that a newer version of Latchkey wrote",
                ));
            }
            Rung::Memory | Rung::Record => {}
        }
        let answer = self.ask_record(marks).await;
        if answer.is_ok() {
            BY_RECORD.increment(1)
        } else {
            BY_NOBODY.increment(1)
        }
        answer
    }

    async fn ask_record(&self, marks: &Marks) -> Result<bool, Error> {
        let _place = self
            .revocations
            .asking_record
            .try_acquire()
            .map_err(|_| Error::Busy)?;
        self.record.refuses(marks).await
    }
}
