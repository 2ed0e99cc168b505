//! What a live revocation takes: in the memory of a replica, in Redis, in PostgreSQL.
//!
//! Each time a replica is looked at that has just read all of them, and nothing else has been asked
//! of it.

use std::{thread, time::Duration};

use crate::{
    Outcome,
    bench::{Bench, say},
    footprint::Figure,
    interrupt, redis,
    report::grouped,
    seed, usage,
};

/// So many are live, one after the other.
const STAGES: [u64; 3] = [0, 100_000, 1_000_000];

/// Until the allocator has given back what it needed for reading them, and whatever was compared
/// with the record is compared.
const SETTLE: Duration = Duration::from_secs(10);

/// What was found with so many.
struct Found {
    entries: u64,
    /// Bytes of a replica, now and at most.
    resident: u64,
    peak: u64,
    /// Bytes of all data in Redis.
    redis: f64,
}

/// Measures, in a record without any. There will be a million in the end.
pub fn measure(bench: &Bench) -> Outcome<Vec<Figure>> {
    let mut found: Vec<Found> = Vec::new();
    for entries in STAGES {
        say(&format!("reading {} revocations", grouped(entries as f64)));
        if let Some(before) = found.last() {
            seed::revoke(&bench.database, before.entries, entries)?;
            forget_log(bench)?;
        }
        bench.server.until_it_knows(entries)?;
        found.push(look(bench, entries)?);
    }
    let bytes = "select pg_total_relation_size('revocations')::float8 / count(*) from revocations";
    let mut figures = vec![(
        "PostgreSQL, bytes per row of revocations, including indexes".to_owned(),
        bench.database.row(bytes)?[0].parse()?,
    )];
    for one in &found[1..] {
        figures.extend(figures_of(one, &found[0]));
    }
    Ok(figures)
}

/// Without its state there is no log: it is built anew, from the record.
fn forget_log(bench: &Bench) -> Outcome<()> {
    bench.stores.redis()?.ask(&["DEL", &redis::state_key()])
}

fn look(bench: &Bench, entries: u64) -> Outcome<Found> {
    let replica = bench.build.start(&bench.stores, "reader")?;
    replica.until_it_knows(entries)?;
    thread::sleep(SETTLE);
    interrupt::check()?;
    let redis = bench.stores.redis()?.info("used_memory")?.parse()?;
    Ok(Found {
        entries,
        resident: usage::resident(replica.pid())?,
        peak: usage::peak(replica.pid())?,
        redis,
    })
}

fn figures_of(one: &Found, none: &Found) -> Vec<Figure> {
    let count = grouped(one.entries as f64);
    let each = |bytes: f64| bytes / one.entries as f64;
    vec![
        (
            format!("{count} revocations, resident MB of a replica"),
            one.resident as f64 / 1e6,
        ),
        (
            format!("{count} revocations, peak MB"),
            one.peak as f64 / 1e6,
        ),
        (
            format!("{count} revocations, bytes of a replica per revocation"),
            each(one.resident as f64 - none.resident as f64),
        ),
        (
            format!("{count} revocations, bytes of Redis per revocation"),
            each(one.redis - none.redis),
        ),
    ]
}
