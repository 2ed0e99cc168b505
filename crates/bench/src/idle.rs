//! What replicas cost that nobody talks to: they renew their leases, look at the stores, and send
//! canaries.

use std::{thread, time::Duration};

use crate::{Outcome, bench::Bench, interrupt, replica::Replica, usage};

/// By the second.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Milliseconds of CPU of all replicas together.
    pub replicas: f64,
    /// Milliseconds of CPU of Redis.
    pub redis: f64,
    /// Commands to Redis, those that its scripts run included.
    pub commands: f64,
}

/// Watches them for so long.
pub fn watch(bench: &Bench, replicas: &[&Replica], length: Duration) -> Outcome<Idle> {
    let mut redis = bench.stores.redis()?;
    let mut look = || -> Outcome<_> {
        let micros: f64 = replicas
            .iter()
            .map(|replica| usage::exact(replica.pid()))
            .sum();
        Ok((
            micros,
            usage::exact(bench.stores.redis.pid()),
            redis.commands()?,
        ))
    };
    let before = look()?;
    thread::sleep(length);
    interrupt::check()?;
    let (after, seconds) = (look()?, length.as_secs_f64());
    Ok(Idle {
        replicas: (after.0 - before.0) / 1000.0 / seconds,
        redis: (after.1 - before.1) / 1000.0 / seconds,
        // One of them is our own.
        commands: (after.2 - before.2).saturating_sub(1) as f64 / seconds,
    })
}
