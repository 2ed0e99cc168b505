//! The store monitor: probes both stores twice a second, and measures their clocks.

use std::{sync::Arc, time::Duration};

use futures_util::TryFutureExt;
use latchkey_domain::clock_offset::ClockOffset;

use super::{App, clock::Clock};
use crate::{
    error::{Diagnosis, Error},
    postgres, redis,
};

/// The interval between two probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

impl App {
    /// Probes the stores, updates the gauges, and logs changes of the readiness until the process
    /// exits.
    pub async fn run_store_monitor(self: Arc<Self>) {
        loop {
            let (postgres, redis) = tokio::join!(self.probe_postgres(), self.probe_redis());
            self.store_health.postgres.update("PostgreSQL", postgres);
            self.store_health.redis.update("Redis", redis);
            self.lifecycle.log_impairments();
            self.measure();
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    pub(super) async fn probe_postgres(&self) -> Result<ClockOffset, Diagnosis> {
        let read = self.postgres.read_clock().map_ok(|time| {
            let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
            u64::try_from(milliseconds).unwrap_or_default()
        });
        let outcome = measure_clock(&self.clock, read).await;
        outcome
            .inspect(|_| self.store_health.postgres.set_usable())
            .map_err(|error| postgres::diagnose(&error))
    }

    /// Redis can be used when a script of each kind has succeeded: on the shared connection, on an
    /// exclusive one, and with the keys of this database. The lease worker joins the log meanwhile.
    pub(super) async fn probe_redis(&self) -> Result<ClockOffset, Diagnosis> {
        let health = &self.store_health.redis;
        let probe = async {
            let time = self.redis.probe().await?;
            let is_open = self.redis.keep_open().await?;
            if is_open && !health.was_usable() {
                self.redis.probe_exclusive().await?;
                health.set_usable();
            }
            Ok(time)
        };
        let read =
            probe.map_ok(|time: Duration| u64::try_from(time.as_millis()).unwrap_or_default());
        let outcome = measure_clock(&self.clock, read).await;
        outcome.map_err(|error| redis::diagnose(&error))
    }
}

/// Reads the clock of a store (ms since the epoch) between two readings of the replica's clock.
async fn measure_clock(
    clock: &Clock,
    read: impl Future<Output = Result<u64, Error>>,
) -> Result<ClockOffset, Error> {
    let before = clock.now_ms();
    let store = read.await?;
    Ok(ClockOffset::between(before, store, clock.now_ms()))
}
