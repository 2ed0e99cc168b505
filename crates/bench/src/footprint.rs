//! `--footprint`: the size of a session, a row, and a revocation, and the cost of an idle replica.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    entries, idle, redis,
    report::align_columns,
    rounds, seed, usage,
};

/// Covers several periods of each background task, which run every few seconds.
const IDLE_WINDOW: Duration = Duration::from_secs(20);

/// Delay after the start and after a change of PostgreSQL's settings.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Number of sessions whose size is averaged.
const SAMPLED_SESSIONS: u64 = 100;

/// A figure with its name and unit.
pub type Figure = (String, f64);

/// Measures and prints the figures, and returns them as JSON.
pub fn run(bench: &Bench) -> Outcome<Value> {
    let mut figures = measure_rows(bench)?;
    figures.extend(measure_idle_replica(bench)?);
    rounds::restore_sessions(bench)?;
    figures.extend(measure_keys(bench)?);
    figures.extend(entries::measure(bench)?);
    let lines: Vec<Vec<String>> = figures
        .iter()
        .map(|(name, value)| vec![name.clone(), format!("{value:.2}")])
        .collect();
    println!("{}\n\n{}", bench.machine.line(), align_columns(&lines));
    let figures: Value = figures
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    Ok(json!({ "machine": bench.machine.json(), "figures": figures }))
}

/// Measures bytes per row, with its share of all indexes, directly after seeding.
fn measure_rows(bench: &Bench) -> Outcome<Vec<Figure>> {
    let bytes = |table: &str| {
        let query =
            format!("select pg_total_relation_size('{table}')::float8 / count(*) from {table}");
        Ok((
            format!("PostgreSQL, bytes per row of {table}, including indexes"),
            bench.database.query_row(&query)?[0].parse()?,
        ))
    };
    ["users", "sessions", "items"]
        .into_iter()
        .map(bytes)
        .collect()
}

/// Measures a replica without requests. PostgreSQL logs each statement, so that its log contains
/// their number.
fn measure_idle_replica(bench: &Bench) -> Outcome<Vec<Figure>> {
    print_progress("measuring an idle replica");
    bench
        .database
        .run("alter system set log_statement = 'all'")?;
    bench.database.run("select pg_reload_conf()")?;
    thread::sleep(SETTLE_TIME);
    let before = count_statements(bench)?;
    let idle = idle::measure(bench, &[&bench.server], IDLE_WINDOW)?;
    let statements = (count_statements(bench)? - before) / IDLE_WINDOW.as_secs_f64();
    bench.database.run("alter system reset log_statement")?;
    bench.database.run("select pg_reload_conf()")?;
    let connections =
        "select count(*) - 1 from pg_stat_activity where datname = current_database()";
    Ok([
        ("idle replica, CPU ms per second", idle.replicas),
        ("idle replica, CPU ms of Redis per second", idle.redis),
        ("idle replica, statements per second", statements),
        (
            "idle replica, commands to Redis per second, including scripts",
            idle.commands,
        ),
        (
            "idle replica, resident MB",
            usage::resident(bench.server.pid())? as f64 / 1e6,
        ),
        (
            "idle replica, connections to PostgreSQL",
            bench.database.query_row(connections)?[0].parse()?,
        ),
        (
            "idle replica, connections to Redis",
            bench
                .stores
                .redis()?
                .info("connected_clients")?
                .parse::<f64>()?
                - 1.0,
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec())
}

fn count_statements(bench: &Bench) -> Outcome<f64> {
    let log = fs::read_to_string(bench.stores.folder().join("postgres.log"))?;
    let is_statement =
        |line: &&str| line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
    Ok(log.lines().filter(is_statement).count() as f64)
}

/// Measures the Redis memory of a session after one refresh, and of its user.
fn measure_keys(bench: &Bench) -> Outcome<Vec<Figure>> {
    let mut redis = bench.stores.redis()?;
    let (mut session_bytes, mut user_bytes) = (0.0, 0.0);
    for user in 1..=SAMPLED_SESSIONS.min(seed::USER_COUNT) {
        let keys = redis::session_keys(user);
        let mut memory_usage =
            |key: &str| redis.query::<f64>(&["MEMORY", "USAGE", key, "SAMPLES", "0"]);
        session_bytes += memory_usage(&keys[0])?;
        user_bytes += memory_usage(&keys[1])?;
    }
    Ok(vec![
        (
            "Redis, bytes per session".to_owned(),
            session_bytes / SAMPLED_SESSIONS as f64,
        ),
        (
            "Redis, bytes per user with a session".to_owned(),
            user_bytes / SAMPLED_SESSIONS as f64,
        ),
    ])
}
