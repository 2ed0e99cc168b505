//! `--footprint`: what a session, a row and a revocation take, and what a replica costs that nobody
//! uses.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, say},
    entries, idle, redis,
    report::aligned,
    rounds, seed, usage,
};

/// Long enough for whatever happens every few seconds.
const IDLE: Duration = Duration::from_secs(20);

/// After the start, and after a change of PostgreSQL's settings.
const SETTLE: Duration = Duration::from_secs(3);

/// Sessions whose size is averaged.
const SAMPLE: u64 = 100;

/// A figure with its name and unit.
pub type Figure = (String, f64);

/// Measures, and tells.
pub fn run(bench: &Bench) -> Outcome<Value> {
    let mut figures = rows(bench)?;
    figures.extend(idle_replica(bench)?);
    rounds::adopt_all(bench)?;
    figures.extend(keys(bench)?);
    figures.extend(entries::measure(bench)?);
    let lines: Vec<Vec<String>> = figures
        .iter()
        .map(|(name, value)| vec![name.clone(), format!("{value:.2}")])
        .collect();
    println!("{}\n\n{}", bench.machine.line(), aligned(&lines));
    let figures: Value = figures
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    Ok(json!({ "machine": bench.machine.json(), "figures": figures }))
}

/// Bytes of a row with its share of all indexes, right after the seeding.
fn rows(bench: &Bench) -> Outcome<Vec<Figure>> {
    let bytes = |table: &str| {
        let query =
            format!("select pg_total_relation_size('{table}')::float8 / count(*) from {table}");
        Ok((
            format!("PostgreSQL, bytes per row of {table}, including indexes"),
            bench.database.row(&query)?[0].parse()?,
        ))
    };
    ["users", "sessions", "items"]
        .into_iter()
        .map(bytes)
        .collect()
}

/// What a replica does that nobody talks to: the statements are those that PostgreSQL writes down.
fn idle_replica(bench: &Bench) -> Outcome<Vec<Figure>> {
    say("measuring an idle replica");
    bench
        .database
        .run("alter system set log_statement = 'all'")?;
    bench.database.run("select pg_reload_conf()")?;
    thread::sleep(SETTLE);
    let before = statements(bench)?;
    let idle = idle::watch(bench, &[&bench.server], IDLE)?;
    let statements = (statements(bench)? - before) / IDLE.as_secs_f64();
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
            bench.database.row(connections)?[0].parse()?,
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

fn statements(bench: &Bench) -> Outcome<f64> {
    let log = fs::read_to_string(bench.stores.folder().join("postgres.log"))?;
    let is_statement =
        |line: &&str| line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
    Ok(log.lines().filter(is_statement).count() as f64)
}

/// Bytes of a session that was refreshed once, and of its account.
fn keys(bench: &Bench) -> Outcome<Vec<Figure>> {
    let mut redis = bench.stores.redis()?;
    let (mut session, mut account) = (0.0, 0.0);
    for user in 1..=SAMPLE.min(seed::USERS) {
        let keys = redis::keys(user);
        let mut bytes = |key: &str| redis.ask::<f64>(&["MEMORY", "USAGE", key, "SAMPLES", "0"]);
        session += bytes(&keys[0])?;
        account += bytes(&keys[1])?;
    }
    Ok(vec![
        (
            "Redis, bytes per session".to_owned(),
            session / SAMPLE as f64,
        ),
        (
            "Redis, bytes per user with a session".to_owned(),
            account / SAMPLE as f64,
        ),
    ])
}
