//! The memory of a live revocation in a replica, in Redis, and in PostgreSQL.
//!
//! Each stage measures a replica that has just loaded all revocations and has served no other
//! requests.

use std::{thread, time::Duration};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    footprint::Figure,
    interrupt, redis,
    report::group_digits,
    seed, usage,
};

/// Numbers of live revocations, in ascending order.
const STAGES: [u64; 3] = [0, 100_000, 1_000_000];

/// Time for the allocator to release the memory of the initial load, and for the replica to finish
/// its comparison with PostgreSQL.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Memory with a number of live revocations.
struct RevocationFootprint {
    entries: u64,
    /// Resident bytes of a replica: current and peak.
    resident: u64,
    peak: u64,
    /// Bytes of all data in Redis.
    redis: f64,
}

/// Measures all stages. The database must contain no revocations at first, and contains a million
/// at the end.
pub fn measure(bench: &Bench) -> Outcome<Vec<Figure>> {
    let mut footprints: Vec<RevocationFootprint> = Vec::new();
    for entries in STAGES {
        print_progress(&format!(
            "reading {} revocations",
            group_digits(entries as f64)
        ));
        if let Some(before) = footprints.last() {
            seed::insert_revocations(&bench.database, before.entries, entries)?;
            delete_log_state(bench)?;
        }
        bench.server.wait_until_ready(entries)?;
        footprints.push(measure_stage(bench, entries)?);
    }
    let bytes = "select pg_total_relation_size('revocations')::float8 / count(*) from revocations";
    let mut figures = vec![(
        "PostgreSQL, bytes per row of revocations, including indexes".to_owned(),
        bench.database.query_row(bytes)?[0].parse()?,
    )];
    for footprint in &footprints[1..] {
        figures.extend(stage_figures(footprint, &footprints[0]));
    }
    Ok(figures)
}

/// Deletes the state of the revocation log, so that the server rebuilds the log from PostgreSQL.
fn delete_log_state(bench: &Bench) -> Outcome<()> {
    bench.stores.redis()?.query(&["DEL", &redis::state_key()])
}

fn measure_stage(bench: &Bench, entries: u64) -> Outcome<RevocationFootprint> {
    let replica = bench.launcher.start(&bench.stores, "reader")?;
    replica.wait_until_ready(entries)?;
    thread::sleep(SETTLE_TIME);
    interrupt::check()?;
    let redis = bench.stores.redis()?.info("used_memory")?.parse()?;
    Ok(RevocationFootprint {
        entries,
        resident: usage::resident(replica.pid())?,
        peak: usage::peak(replica.pid())?,
        redis,
    })
}

fn stage_figures(footprint: &RevocationFootprint, empty: &RevocationFootprint) -> Vec<Figure> {
    let count = group_digits(footprint.entries as f64);
    let per_entry = |bytes: f64| bytes / footprint.entries as f64;
    vec![
        (
            format!("{count} revocations, resident MB of a replica"),
            footprint.resident as f64 / 1e6,
        ),
        (
            format!("{count} revocations, peak MB"),
            footprint.peak as f64 / 1e6,
        ),
        (
            format!("{count} revocations, bytes of a replica per revocation"),
            per_entry(footprint.resident as f64 - empty.resident as f64),
        ),
        (
            format!("{count} revocations, bytes of Redis per revocation"),
            per_entry(footprint.redis - empty.redis),
        ),
    ]
}
