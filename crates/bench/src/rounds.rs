//! Interleaved measurements. In each round, a row runs directly after its baselines, so that a
//! drifting clock affects both. The ratio of a row is the median of the ratios of its rounds.

use std::time::{Duration, Instant};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    idle::{self, IdleCost},
    pace::{self, Plan},
    product,
    replica::send_request,
    rows::{Baseline, Row},
    usage,
};

/// Concurrent requests that restore sessions.
const RESTORE_CONNECTIONS: usize = 16;

/// Covers two propagation probes.
const IDLE_WINDOW: Duration = Duration::from_secs(10);

/// Maximum relative difference between the lengths of two bodies.
const MAX_LENGTH_DIFFERENCE: f64 = 0.05;

/// One run of a row or of a baseline. Values that do not apply are `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Responses per second.
    pub rate: f64,
    /// Median response time, in microseconds.
    pub p50: Option<f64>,
    /// 99th percentile of the response time, in microseconds.
    pub p99: Option<f64>,
    /// CPU microseconds per response: of the server or the bare handler.
    pub server: Option<f64>,
    /// CPU microseconds of Redis per response.
    pub redis: Option<f64>,
    /// CPU microseconds of PostgreSQL per response.
    pub postgres: Option<f64>,
    /// Commands to Redis per response, without those of an idle server.
    pub commands: Option<f64>,
    /// Peak memory, in bytes.
    pub memory: Option<f64>,
    /// The share of rejected requests, if the traffic permits them.
    pub rejected: Option<f64>,
}

/// The samples of a row.
pub struct RowResult {
    pub row: Row,
    /// Samples of the server, by round.
    pub server_samples: Vec<Sample>,
    /// Samples of each baseline, by round.
    pub baseline_samples: Vec<Vec<Sample>>,
    /// The error after which the row was not measured any more.
    pub failure: Option<String>,
}

/// Prints each step with an estimate of the remaining time.
struct Progress {
    began: Instant,
    done: u32,
    total: u32,
}

impl Progress {
    fn step(&mut self, round: usize, rounds: usize, row: &str) {
        let remaining = self
            .began
            .elapsed()
            .checked_div(self.done)
            .map(|typical| typical * (self.total - self.done));
        let remaining = remaining
            .map(|remaining| format!(", {} s left", remaining.as_secs()))
            .unwrap_or_default();
        self.done += 1;
        print_progress(&format!("round {round} of {rounds}: {row}{remaining}"));
    }
}

/// Measures the rows in rounds. Each run takes the given number of seconds.
pub fn measure(
    bench: &mut Bench,
    rows: &[Row],
    rounds: usize,
    seconds: u64,
) -> Outcome<Vec<RowResult>> {
    warm_up(bench, rows)?;
    print_progress("measuring the commands to Redis without requests");
    let idle = idle::measure(bench, &[&bench.server], IDLE_WINDOW)?;
    let empty_result = |row: &Row| RowResult {
        row: *row,
        server_samples: vec![],
        baseline_samples: vec![vec![]; row.baselines.len()],
        failure: None,
    };
    let mut measured: Vec<RowResult> = rows.iter().map(empty_result).collect();
    let total = u32::try_from(rounds * rows.len())?;
    let mut progress = Progress {
        began: Instant::now(),
        done: 0,
        total,
    };
    for round in 1..=rounds {
        if bench.request_builder.renew_tokens()? {
            warm_up(bench, rows)?;
        }
        for result in &mut measured {
            progress.step(round, rounds, result.row.name);
            crate::interrupt::check()?;
            if result.failure.is_none()
                && let Err(error) = measure_once(bench, result, seconds, idle)
            {
                crate::interrupt::check()?;
                print_progress(&format!("{} failed: {error}", result.row.name));
                result.failure = Some(error.to_string());
            }
        }
    }
    Ok(measured)
}

fn measure_once(
    bench: &Bench,
    measured: &mut RowResult,
    seconds: u64,
    idle: IdleCost,
) -> Outcome<()> {
    let row = measured.row;
    let baselines = row
        .baselines
        .iter()
        .map(|baseline| sample_baseline(bench, &row, *baseline, seconds));
    let baselines = baselines.collect::<Outcome<Vec<Sample>>>()?;
    let server_sample = sample_server(bench, &row, seconds, idle)?;
    measured.server_samples.push(server_sample);
    baselines
        .into_iter()
        .zip(&mut measured.baseline_samples)
        .for_each(|(sample, samples)| samples.push(sample));
    Ok(())
}

/// Measures one run of the server.
fn sample_server(bench: &Bench, row: &Row, seconds: u64, idle: IdleCost) -> Outcome<Sample> {
    let (load, cost) = bench.drive(&bench.server, row.traffic, row.callers, seconds)?;
    let per_response = |whole: f64| Some(whole / load.responses);
    Ok(Sample {
        rate: load.rate(),
        p50: Some(load.p50),
        p99: Some(load.p99),
        server: per_response(cost.server),
        redis: per_response(cost.redis),
        postgres: per_response(cost.postgres),
        commands: per_response(cost.commands - idle.commands * cost.seconds),
        memory: Some(usage::peak(bench.server.pid())? as f64),
        rejected: (row.traffic.max_error_share() > 0.0).then(|| load.errors / load.responses),
    })
}

fn sample_baseline(bench: &Bench, row: &Row, baseline: Baseline, seconds: u64) -> Outcome<Sample> {
    let rate = |rate: f64| Sample {
        rate,
        ..Sample::default()
    };
    Ok(match baseline {
        Baseline::Handler => {
            let (load, cost) = bench.drive(&bench.baseline, row.traffic, row.callers, seconds)?;
            let server = Some(cost.server / load.responses);
            Sample {
                p50: Some(load.p50),
                p99: Some(load.p99),
                server,
                ..rate(load.rate())
            }
        }
        Baseline::Statement(statement) => {
            let found = bench.pgbench.run(statement, row.callers, seconds)?;
            Sample {
                postgres: Some(found.micros),
                ..rate(found.rate)
            }
        }
        Baseline::RefreshScript => {
            let (url, counters) = (
                bench.stores.redis.url(),
                bench.stores.redis()?.rotation_counters()?,
            );
            let before = usage::process_cpu_micros(bench.stores.redis.pid());
            let (began, duration) = (Instant::now(), Duration::from_secs(seconds));
            let found =
                product::measure_rotation_rate(&url, &counters, row.callers.into(), duration)?;
            let used = usage::process_cpu_micros(bench.stores.redis.pid()).saturating_sub(before);
            Sample {
                redis: Some(used as f64 / (found * began.elapsed().as_secs_f64())),
                ..rate(found)
            }
        }
        Baseline::Signature => rate(1e6 / bench.request_builder.keys().measure_signature_micros()?),
        Baseline::PasswordHash => rate(product::measure_hash_rate(
            &bench.password,
            &bench.launcher.settings,
            Duration::from_secs(seconds),
        )?),
    })
}

/// Fills caches, restores sessions in Redis, and checks the responses of both servers.
fn warm_up(bench: &Bench, rows: &[Row]) -> Outcome<()> {
    if rows.iter().any(|row| !row.traffic.is_repeatable()) {
        restore_sessions(bench)?;
    }
    for row in rows {
        print_progress(&format!("warming up: {}", row.name));
        check_responses(bench, row).map_err(|error| format!("{}: {error}", row.name))?;
        bench
            .drive(&bench.server, row.traffic, row.callers, 1)
            .map_err(|error| format!("{}: {error}", row.name))?;
    }
    Ok(())
}

/// Restores all sessions in Redis. The first refresh of a seeded session reads it from PostgreSQL,
/// and the row does not measure that.
pub fn restore_sessions(bench: &Bench) -> Outcome<()> {
    let requests = bench
        .request_builder
        .first_refreshes(&bench.stores.redis()?.rotation_counters()?);
    print_progress(&format!(
        "warming up: restoring {} sessions",
        requests.len()
    ));
    let (addresses, count) = (&[bench.server.address], requests.len());
    pace::run(
        &Plan {
            addresses,
            requests: &requests,
            count,
            connections: RESTORE_CONNECTIONS,
            rate: None,
        },
        200,
    )
    .map(drop)
}

/// Checks that the responses of the server and the baseline match, because otherwise their rates
/// are not comparable.
fn check_responses(bench: &Bench, row: &Row) -> Outcome<()> {
    let Some(status) = row.traffic.status() else {
        return Ok(());
    };
    let request = bench.requests(row.traffic, 1)?.swap_remove(0);
    let (found, body) = send_request(bench.server.address, &request)?;
    if found != status {
        return Err(format!("the server responded {found} instead of {status}").into());
    }
    if !row.baselines.contains(&Baseline::Handler) {
        return Ok(());
    }
    let server_length = body.len();
    let (found, body) = send_request(bench.baseline.address, &request)?;
    let baseline_length = body.len();
    if found != status
        || (server_length as f64 - baseline_length as f64).abs()
            > MAX_LENGTH_DIFFERENCE * server_length as f64
    {
        return Err(format!(
            "the baseline responds {found} with {baseline_length} bytes, the server {status} with {server_length}"
        )
        .into());
    }
    Ok(())
}
