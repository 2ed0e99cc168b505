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
    /// exits. A store that responds slowly doesn't delay the probes of the other one.
    pub async fn run_store_monitor(self: Arc<Self>) {
        let postgres = async {
            loop {
                let outcome = self.probe_postgres().await;
                self.store_health.postgres.update("PostgreSQL", outcome);
                self.measure();
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        };
        let redis = async {
            loop {
                let outcome = self.prepare_redis().await;
                self.store_health.redis.update("Redis", outcome);
                self.lifecycle.observe_impairments();
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        };
        tokio::join!(postgres, redis);
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

    pub(super) async fn probe_redis(&self) -> Result<ClockOffset, Diagnosis> {
        let health = &self.store_health;
        let known = health.redis.clock_offset().map(ClockOffset::milliseconds);
        let probe = self.redis.probe(health.replica_id, known);
        let read = probe.map_ok(|outcome| {
            health.set_other_offsets(outcome.other_offsets);
            u64::try_from(outcome.time.as_millis()).unwrap_or_default()
        });
        let outcome = measure_clock(&self.clock, read).await;
        outcome.map_err(|error| redis::diagnose(&error))
    }

    /// Probes Redis, and prevents replicas of an older version from using it. Redis can be used
    /// when that and a probe on each kind of connection have succeeded. (The lease worker uses a
    /// connection of its own, and reports its failures.)
    async fn prepare_redis(&self) -> Result<ClockOffset, Diagnosis> {
        let offset = self.probe_redis().await?;
        let health = &self.store_health;
        let prepare = async {
            if self.redis.retire_previous_layout().await? && !health.redis.has_been_usable() {
                self.redis.probe_exclusive(health.replica_id).await?;
                health.redis.set_usable();
            }
            Ok(())
        };
        let prepared: Result<(), Error> = prepare.await;
        prepared.map_err(|error| redis::diagnose(&error))?;
        Ok(offset)
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
