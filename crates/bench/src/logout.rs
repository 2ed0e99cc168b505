//! `--logout`: how long `POST /logout` takes, at ten a second. Its answer comes when no replica
//! accepts the session any more: as soon as each has said so, or, where one says nothing, when no
//! lease can be left. And what it costs to be ready for that: replicas that renew their leases, and
//! do nothing else.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, say},
    idle::{self, Idle},
    pace::{self, KeyRotationPolicy, Plan},
    replica::Replica,
    report::aligned,
    seed,
    silent::Silent,
};

/// So many a second, whatever the answers do.
const RATE: usize = 10;

/// Sign-outs before that, for statements that are prepared and connections that are opened.
const WARM_UP: usize = 60;

/// More than can wait at a time, and the same number for each replica.
const CONNECTIONS: usize = 30;

/// Long enough for whatever happens every few seconds.
const IDLE: Duration = Duration::from_secs(20);

/// So many replicas; and whether they are measured with one that says nothing, too.
const STAGES: [(usize, bool); 3] = [(1, true), (3, true), (10, false)];

/// Sign-outs of one kind.
struct Run {
    replicas: usize,
    way: &'static str,
    pace: KeyRotationPolicy,
    /// The share of them that did not have to wait for leases to end.
    early: f64,
}

/// Measures, and tells. Each run lasts so many seconds.
pub fn run(bench: &Bench, seconds: u64) -> Outcome<Value> {
    let count = RATE * usize::try_from(seconds)?;
    let mut users = Users::for_runs(
        STAGES
            .iter()
            .map(|(_, both)| if *both { 2 } else { 1 })
            .sum(),
        count,
    )?;
    let (mut others, mut runs, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for (number, with_wait) in STAGES {
        while others.len() + 1 < number {
            let replica = bench
                .build
                .start(&bench.stores, &format!("server-{}", others.len() + 2))?;
            replica.until_it_knows(seed::REVOCATIONS)?;
            others.push(replica);
        }
        let replicas: Vec<&Replica> = std::iter::once(&bench.server).chain(&others).collect();
        say(&format!("measuring {number} idle replicas"));
        idle.push((number, idle::watch(bench, &replicas, IDLE)?));
        runs.push(measure(
            bench,
            &replicas,
            "acknowledged",
            users.take(count),
        )?);
        if with_wait {
            let _silent = Silent::join(&bench.stores)?;
            runs.push(measure(
                bench,
                &replicas,
                "drain period",
                users.take(count),
            )?);
        }
    }
    println!(
        "{}\n\n{}\n\n{}",
        bench.machine.line(),
        table(&runs),
        idle_table(&idle)
    );
    Ok(json!({
        "machine": bench.machine.json(),
        "per_second": RATE,
        "runs": runs.iter().map(run_json).collect::<Vec<_>>(),
        "idle": idle.iter().map(idle_json).collect::<Vec<_>>(),
    }))
}

/// Whose sessions have not been ended yet.
struct Users(u64);

impl Users {
    fn for_runs(runs: usize, count: usize) -> Outcome<Users> {
        let most = usize::try_from(seed::USERS)? / runs - WARM_UP;
        if count > most {
            return Err(format!("the sessions suffice for at most {} seconds", most / RATE).into());
        }
        Ok(Users(1))
    }

    fn take(&mut self, count: usize) -> RangeInclusive<u64> {
        let first = self.0;
        self.0 += (WARM_UP + count) as u64;
        first..=self.0 - 1
    }
}

fn measure(
    bench: &Bench,
    replicas: &[&Replica],
    way: &'static str,
    users: RangeInclusive<u64>,
) -> Outcome<Run> {
    say(&format!(
        "measuring {} replicas, sign-outs complete by: {way}",
        replicas.len()
    ));
    let to: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    let requests: Vec<String> = users.map(|user| bench.composer.logout(user)).collect();
    let sign_out = |requests: &[String]| {
        let plan = Plan {
            to: &to,
            requests,
            count: requests.len(),
            connections: CONNECTIONS,
            rate: Some(RATE as f64),
        };
        pace::run(&plan, 204)
    };
    sign_out(&requests[..WARM_UP])?;
    let before = returned(replicas)?;
    let pace = sign_out(&requests[WARM_UP..])?;
    let after = returned(replicas)?;
    let (early, all) = (after.0 - before.0, after.1 - before.1);
    Ok(Run {
        replicas: replicas.len(),
        way,
        pace,
        early: early / all,
    })
}

/// Revocations so far that returned early, and all; canaries among them.
fn returned(replicas: &[&Replica]) -> Outcome<(f64, f64)> {
    let counted = |by: &str| {
        let name = format!("latchkey_revocation_enforcement_seconds_count{{completion=\"{by}\"}}");
        replicas
            .iter()
            .map(|replica| replica.metric(&name))
            .sum::<Outcome<f64>>()
    };
    let (early, waited) = (counted("acknowledged")?, counted("waited")?);
    Ok((early, early + waited))
}

fn table(runs: &[Run]) -> String {
    let heads = [
        "replicas",
        "complete by",
        "p50 ms",
        "p99 ms",
        "max ms",
        "acknowledged",
    ];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(runs.iter().map(|run| {
        let milliseconds = |percent| format!("{:.1}", run.pace.percentile(percent) / 1000.0);
        let figures = [milliseconds(50.0), milliseconds(99.0), milliseconds(100.0)];
        let early = format!("{:.1} %", run.early * 100.0);
        [run.replicas.to_string(), run.way.to_owned()]
            .into_iter()
            .chain(figures)
            .chain([early])
            .collect()
    }));
    aligned(&lines)
}

fn idle_table(idle: &[(usize, Idle)]) -> String {
    let heads = [
        "idle replicas",
        "CPU ms of all replicas per second",
        "CPU ms of Redis per second",
        "commands to Redis per second",
    ];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(idle.iter().map(|(number, idle)| {
        vec![
            number.to_string(),
            format!("{:.2}", idle.replicas),
            format!("{:.2}", idle.redis),
            format!("{:.0}", idle.commands),
        ]
    }));
    aligned(&lines)
}

fn run_json(run: &Run) -> Value {
    json!({
        "replicas": run.replicas,
        "way": run.way,
        "count": run.pace.micros.len(),
        "p50_us": run.pace.percentile(50.0),
        "p99_us": run.pace.percentile(99.0),
        "longest_us": run.pace.percentile(100.0),
        "acknowledged": run.early,
    })
}

fn idle_json((replicas, idle): &(usize, Idle)) -> Value {
    json!({
        "replicas": replicas,
        "cpu_ms_per_second": idle.replicas,
        "redis_cpu_ms_per_second": idle.redis,
        "redis_commands_per_second": idle.commands,
    })
}
