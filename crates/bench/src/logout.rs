//! `--logout`: the duration of `POST /logout` at ten requests per second, and the cost of idle
//! replicas.
//!
//! The server responds when no replica accepts the session any more. That is when all replicas have
//! acknowledged the revocation, or when the drain period has passed.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    idle::{self, IdleCost},
    pace::{self, LatencyReport, Plan},
    replica::Replica,
    report::align_columns,
    seed,
    silent::SilentMember,
};

/// The rate does not depend on the responses.
const SIGN_OUTS_PER_SECOND: usize = 10;

/// Sign-outs before the measurement, so that connections are open and statements are prepared.
const WARM_UP_SIGN_OUTS: usize = 60;

/// Exceeds the number of concurrent requests, and is divisible by each number of replicas.
const CONNECTIONS: usize = 30;

/// Covers several periods of each background task, which run every few seconds.
const IDLE_WINDOW: Duration = Duration::from_secs(20);

/// Number of replicas, and whether a second run includes a member that never acknowledges.
const STAGES: [(usize, bool); 3] = [(1, true), (3, true), (10, false)];

/// The result of one run.
struct SignOutRun {
    replicas: usize,
    completion: &'static str,
    latencies: LatencyReport,
    /// The share of revocations that all replicas acknowledged before the drain period had passed.
    acknowledged_share: f64,
}

/// Measures and prints the figures. Each run takes the given number of seconds.
pub fn run(bench: &Bench, seconds: u64) -> Outcome<Value> {
    let count = SIGN_OUTS_PER_SECOND * usize::try_from(seconds)?;
    let mut users = UnusedUsers::for_runs(
        STAGES
            .iter()
            .map(|(_, with_silent_member)| if *with_silent_member { 2 } else { 1 })
            .sum(),
        count,
    )?;
    let (mut other_replicas, mut runs, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for (number, with_silent_member) in STAGES {
        while other_replicas.len() + 1 < number {
            let replica = bench.launcher.start(
                &bench.stores,
                &format!("server-{}", other_replicas.len() + 2),
            )?;
            replica.wait_until_ready(seed::REVOCATION_COUNT)?;
            other_replicas.push(replica);
        }
        let replicas: Vec<&Replica> = std::iter::once(&bench.server)
            .chain(&other_replicas)
            .collect();
        print_progress(&format!("measuring {number} idle replicas"));
        idle.push((number, idle::measure(bench, &replicas, IDLE_WINDOW)?));
        runs.push(measure(
            bench,
            &replicas,
            "acknowledged",
            users.take(count),
        )?);
        if with_silent_member {
            let _silent = SilentMember::register(&bench.stores)?;
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
        "per_second": SIGN_OUTS_PER_SECOND,
        "runs": runs.iter().map(run_json).collect::<Vec<_>>(),
        "idle": idle.iter().map(idle_json).collect::<Vec<_>>(),
    }))
}

/// The first user whose session has not been signed out yet.
struct UnusedUsers(u64);

impl UnusedUsers {
    fn for_runs(runs: usize, count: usize) -> Outcome<UnusedUsers> {
        let max_sign_outs = usize::try_from(seed::USER_COUNT)? / runs - WARM_UP_SIGN_OUTS;
        if count > max_sign_outs {
            return Err(format!(
                "the sessions suffice for at most {} seconds",
                max_sign_outs / SIGN_OUTS_PER_SECOND
            )
            .into());
        }
        Ok(UnusedUsers(1))
    }

    fn take(&mut self, count: usize) -> RangeInclusive<u64> {
        let first = self.0;
        self.0 += (WARM_UP_SIGN_OUTS + count) as u64;
        first..=self.0 - 1
    }
}

fn measure(
    bench: &Bench,
    replicas: &[&Replica],
    completion: &'static str,
    users: RangeInclusive<u64>,
) -> Outcome<SignOutRun> {
    print_progress(&format!(
        "measuring {} replicas, sign-outs complete by: {completion}",
        replicas.len()
    ));
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    let requests: Vec<String> = users
        .map(|user| bench.request_builder.logout(user))
        .collect();
    let sign_out = |requests: &[String]| {
        let plan = Plan {
            addresses: &addresses,
            requests,
            count: requests.len(),
            connections: CONNECTIONS,
            rate: Some(SIGN_OUTS_PER_SECOND as f64),
        };
        pace::run(&plan, 204)
    };
    sign_out(&requests[..WARM_UP_SIGN_OUTS])?;
    let before = count_revocations(replicas)?;
    let latencies = sign_out(&requests[WARM_UP_SIGN_OUTS..])?;
    let after = count_revocations(replicas)?;
    let (acknowledged, total) = (after.0 - before.0, after.1 - before.1);
    Ok(SignOutRun {
        replicas: replicas.len(),
        completion,
        latencies,
        acknowledged_share: acknowledged / total,
    })
}

/// Returns the number of acknowledged revocations and of all revocations. Both include propagation
/// probes.
fn count_revocations(replicas: &[&Replica]) -> Outcome<(f64, f64)> {
    let count = |completion: &str| {
        let name =
            format!("latchkey_revocation_enforcement_seconds_count{{completion=\"{completion}\"}}");
        replicas
            .iter()
            .map(|replica| replica.metric(&name))
            .sum::<Outcome<f64>>()
    };
    let (acknowledged, waited) = (count("acknowledged")?, count("waited")?);
    Ok((acknowledged, acknowledged + waited))
}

fn table(runs: &[SignOutRun]) -> String {
    let headers = [
        "replicas",
        "complete by",
        "p50 ms",
        "p99 ms",
        "max ms",
        "acknowledged",
    ];
    let mut lines = vec![headers.map(str::to_owned).to_vec()];
    lines.extend(runs.iter().map(|run| {
        let milliseconds = |percent| format!("{:.1}", run.latencies.percentile(percent) / 1000.0);
        let figures = [milliseconds(50.0), milliseconds(99.0), milliseconds(100.0)];
        let acknowledged = format!("{:.1} %", run.acknowledged_share * 100.0);
        [run.replicas.to_string(), run.completion.to_owned()]
            .into_iter()
            .chain(figures)
            .chain([acknowledged])
            .collect()
    }));
    align_columns(&lines)
}

fn idle_table(idle: &[(usize, IdleCost)]) -> String {
    let headers = [
        "idle replicas",
        "CPU ms of all replicas per second",
        "CPU ms of Redis per second",
        "commands to Redis per second",
    ];
    let mut lines = vec![headers.map(str::to_owned).to_vec()];
    lines.extend(idle.iter().map(|(number, idle)| {
        vec![
            number.to_string(),
            format!("{:.2}", idle.replicas),
            format!("{:.2}", idle.redis),
            format!("{:.0}", idle.commands),
        ]
    }));
    align_columns(&lines)
}

fn run_json(run: &SignOutRun) -> Value {
    json!({
        "replicas": run.replicas,
        "complete_by": run.completion,
        "count": run.latencies.micros.len(),
        "p50_us": run.latencies.percentile(50.0),
        "p99_us": run.latencies.percentile(99.0),
        "max_us": run.latencies.percentile(100.0),
        "acknowledged_share": run.acknowledged_share,
    })
}

fn idle_json((replicas, idle): &(usize, IdleCost)) -> Value {
    json!({
        "replicas": replicas,
        "cpu_ms_per_second": idle.replicas,
        "redis_cpu_ms_per_second": idle.redis,
        "redis_commands_per_second": idle.commands,
    })
}
