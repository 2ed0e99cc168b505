//! Examines a running server: whether it accepts writes, its clock, and its properties.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use deadpool_redis::redis::{FromRedisValue, Value};
use uuid::Uuid;

use super::{Redis, preflight::RedisServer, script::Script};
use crate::error::Error;

static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("probe", include_str!("scripts/probe.lua")));

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The time of Redis since the epoch.
    pub time: Duration,
    /// The clock of Redis minus those of other replicas, in milliseconds.
    pub other_offsets: Vec<i64>,
}

impl Redis {
    /// Writes a key, and reads the clock. A server that rejects writes responds to reads, so
    /// reading alone proves nothing. `offset` is the clock of Redis minus that of this replica in
    /// milliseconds, for other replicas.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn probe(
        &self,
        replica_id: Uuid,
        offset: Option<i64>,
    ) -> Result<ProbeOutcome, Error> {
        let replica_id = replica_id.simple().to_string();
        let offset = offset.map(|offset| offset.to_string()).unwrap_or_default();
        let args = [replica_id.as_bytes(), offset.as_bytes()];
        self.shared
            .run_script(&PROBE, &self.probe_keys(), &args)
            .await
            .and_then(parse_outcome)
    }

    /// Like [`Redis::probe`], on an exclusive connection, without an offset.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn probe_exclusive(&self, replica_id: Uuid) -> Result<(), Error> {
        let replica_id = replica_id.simple().to_string();
        let args: [&[u8]; 2] = [replica_id.as_bytes(), b""];
        self.exclusive
            .run_script(&PROBE, &self.probe_keys(), &args)
            .await
            .map(drop)
    }

    /// Opens the shared connection if necessary, and returns the description of its server.
    ///
    /// # Errors
    /// `unavailable`, if it can't serve as the Redis of this program.
    pub async fn examine(&self) -> Result<Arc<RedisServer>, Error> {
        let connection = self.shared.connection().await;
        Ok(connection.map_err(Error::unavailable)?.server)
    }

    fn probe_keys(&self) -> [String; 1] {
        [format!("{}:clocks", self.configured_prefix)]
    }
}

fn parse_outcome(result: Value) -> Result<ProbeOutcome, Error> {
    let (seconds, microseconds, other_offsets) =
        FromRedisValue::from_redis_value(result).map_err(|_| PROBE.unknown_result())?;
    Ok(ProbeOutcome {
        time: Duration::from_secs(seconds) + Duration::from_micros(microseconds),
        other_offsets,
    })
}
