//! Examines a running server: whether it accepts writes, its clock, and its properties.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{FromRedisValue, Value};

use super::{Redis, connect_error, preflight::RedisServer, script::Script};
use crate::error::{Diagnosis, Error};

static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("probe", include_str!("scripts/probe.lua")));

impl Redis {
    /// Writes a key, and returns the time of Redis since the epoch. A server that rejects writes
    /// responds to reads, so reading alone proves nothing.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn probe(&self) -> Result<Duration, Error> {
        let keys = [self.probe_key()];
        self.shared
            .run_script(&PROBE, &keys, &[])
            .await
            .and_then(parse_time)
    }

    /// Like [`Redis::probe`], on an exclusive connection.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn probe_exclusive(&self) -> Result<Duration, Error> {
        let keys = [self.probe_key()];
        self.exclusive
            .run_script(&PROBE, &keys, &[])
            .await
            .and_then(parse_time)
    }

    /// Prevents replicas of the previous version from using this Redis, once the ID of the database
    /// is known. It must be repeated every few seconds. Returns whether keys can be used.
    ///
    /// # Errors
    /// `unavailable`, also while such a replica runs.
    pub async fn keep_open(&self) -> Result<bool, Error> {
        match self.prefix.get() {
            Some(_) => self.open().await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Opens a connection, and returns the description of its server.
    ///
    /// # Errors
    /// `unavailable`, if it can't serve as the Redis of this program.
    pub async fn examine(&self) -> Result<RedisServer, Error> {
        let mut opened = self.primary.connect().await.map_err(Error::unavailable)?;
        let examined = self.primary.examine(&mut opened.connection).await;
        let (server, _) = examined.map_err(Error::unavailable)?;
        Ok(server)
    }

    fn probe_key(&self) -> String {
        format!("{}:probe", self.configured_prefix)
    }
}

/// Returns the cause and the fix of an error of Redis.
pub fn diagnose(error: &Error) -> Diagnosis {
    connect_error::diagnose(error)
}

fn parse_time(result: Value) -> Result<Duration, Error> {
    let (seconds, microseconds) =
        <(u64, u64)>::from_redis_value(result).map_err(|_| PROBE.unknown_result())?;
    Ok(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
}
