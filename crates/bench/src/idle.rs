//! The cost of replicas without requests: they renew leases, poll the stores, and run propagation
//! probes.

use std::{thread, time::Duration};

use crate::{Outcome, bench::Bench, interrupt, replica::Replica, usage};

/// Cost per second.
#[derive(Debug, Clone, Copy)]
pub struct IdleCost {
    /// CPU milliseconds of all replicas together.
    pub replicas: f64,
    /// CPU milliseconds of Redis.
    pub redis: f64,
    /// Commands to Redis, including those of scripts.
    pub commands: f64,
}

/// Measures the replicas for the given time.
pub fn measure(bench: &Bench, replicas: &[&Replica], length: Duration) -> Outcome<IdleCost> {
    let mut redis = bench.stores.redis()?;
    let mut snapshot = || -> Outcome<_> {
        let micros: f64 = replicas
            .iter()
            .map(|replica| usage::precise_cpu_micros(replica.pid()))
            .sum();
        Ok((
            micros,
            usage::precise_cpu_micros(bench.stores.redis.pid()),
            redis.count_commands()?,
        ))
    };
    let before = snapshot()?;
    thread::sleep(length);
    interrupt::check()?;
    let (after, seconds) = (snapshot()?, length.as_secs_f64());
    Ok(IdleCost {
        replicas: (after.0 - before.0) / 1000.0 / seconds,
        redis: (after.1 - before.1) / 1000.0 / seconds,
        // One command is the `INFO` of this measurement.
        commands: (after.2 - before.2).saturating_sub(1) as f64 / seconds,
    })
}
