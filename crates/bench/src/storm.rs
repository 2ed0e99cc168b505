//! `--storm`: measures whether many sign-ins slow other requests.
//!
//! Token checks run at half of their capacity, at a fixed rate. Phases without and with sign-ins
//! alternate, so that a drifting clock affects both.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    pace::{self, LatencyReport, Plan},
    report::{Spread, align_columns, group_digits},
    traffic::{self, Traffic, UserSet},
};

const PHASE_SECONDS: u64 = 4;

/// Time until the queue of sign-ins is full.
const STORM_LEAD_TIME: Duration = Duration::from_millis(500);

/// Concurrent sign-ins: twice the number that two cores can hash per second.
const CONCURRENT_SIGN_INS: u16 = 64;

/// Delay of a caller after a response. Without it, rejected sign-ins would repeat at once and take
/// all remaining CPU time.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Exceeds the number of concurrent checks, so that none waits for a connection.
const CONNECTIONS: usize = 128;

/// Rate of liveness requests from another thread. They use no I/O and no lock, so they measure only
/// the delay of the async workers.
const LIVENESS_REQUESTS_PER_SECOND: f64 = 200.0;

/// The result of one phase.
struct PhaseResult {
    verify: LatencyReport,
    live: LatencyReport,
    /// Successful sign-ins per second, and the share of all attempts that were rejected as busy.
    sign_ins: Option<(f64, f64)>,
}

/// Measures and prints the figures, and returns them as JSON.
pub fn run(bench: &Bench, rounds: usize) -> Outcome<Value> {
    print_progress("measuring the capacity");
    let traffic = Traffic::Verify(UserSet::All);
    bench.drive(&bench.server, traffic, 64, 1)?;
    let capacity = bench
        .drive(&bench.server, traffic, 64, PHASE_SECONDS)?
        .0
        .rate();
    let (requests, rate) = (bench.requests(traffic, 1)?, capacity / 2.0);
    let (mut alone, mut with_sign_ins) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        print_progress(&format!(
            "round {round} of {rounds}: {} per second alone, then during sign-ins",
            group_digits(rate)
        ));
        alone.push(measure_phase(bench, &requests, rate, false)?);
        with_sign_ins.push(measure_phase(bench, &requests, rate, true)?);
    }
    println!(
        "{}\n\n{}",
        bench.machine.line(),
        table(capacity, &alone, &with_sign_ins)
    );
    Ok(json!({
        "machine": bench.machine.json(),
        "capacity": capacity,
        "rate": rate,
        "alone": phases_json(&alone),
        "storm": phases_json(&with_sign_ins),
    }))
}

fn measure_phase(
    bench: &Bench,
    requests: &[String],
    rate: f64,
    with_sign_ins: bool,
) -> Outcome<PhaseResult> {
    let mut storm = None;
    if with_sign_ins {
        let file = traffic::write_requests(
            &bench.requests(Traffic::Login, PHASE_SECONDS)?,
            bench.stores.folder(),
        )?;
        storm = Some(bench.wrk.start(
            bench.server.address,
            &file,
            CONCURRENT_SIGN_INS,
            RETRY_DELAY,
            PHASE_SECONDS + 2,
        )?);
        thread::sleep(STORM_LEAD_TIME);
    }
    let addresses = &[bench.server.address];
    let live = ["GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()];
    let count = |rate: f64| (rate * PHASE_SECONDS as f64) as usize;
    let live = Plan {
        addresses,
        requests: &live,
        count: count(LIVENESS_REQUESTS_PER_SECOND),
        connections: 4,
        rate: Some(LIVENESS_REQUESTS_PER_SECOND),
    };
    let verify = Plan {
        addresses,
        requests,
        count: count(rate),
        connections: CONNECTIONS,
        rate: Some(rate),
    };
    let began = Instant::now();
    let (verify, live) = thread::scope(|scope| {
        let live = scope.spawn(|| pace::run(&live, 200));
        (
            pace::run(&verify, 204),
            live.join().map_err(|_| "a generator panicked"),
        )
    });
    let took = began.elapsed().as_secs_f64();
    if took > 1.5 * PHASE_SECONDS as f64 {
        return Err(format!("the rate wasn't reached: {PHASE_SECONDS} s took {took:.1} s").into());
    }
    let load = storm.map(|storm| storm.finish()).transpose()?;
    let sign_ins = load
        .map(|load| load.errors / load.responses)
        .zip(load)
        .map(|(busy, load)| (load.rate() * (1.0 - busy), busy));
    Ok(PhaseResult {
        verify: verify?,
        live: live??,
        sign_ins,
    })
}

/// A figure of a phase, with its name and unit.
type PhaseFigure = (&'static str, fn(&PhaseResult) -> Option<f64>);

const FIGURES: [PhaseFigure; 6] = [
    ("verify p50, ms", |phase| {
        Some(phase.verify.percentile(50.0) / 1000.0)
    }),
    ("verify p99, ms", |phase| {
        Some(phase.verify.percentile(99.0) / 1000.0)
    }),
    ("live p50, ms", |phase| {
        Some(phase.live.percentile(50.0) / 1000.0)
    }),
    ("live p99, ms", |phase| {
        Some(phase.live.percentile(99.0) / 1000.0)
    }),
    ("sign-ins per second with 200", |phase| {
        Some(phase.sign_ins?.0)
    }),
    ("attempts with 503, %", |phase| {
        Some(phase.sign_ins?.1 * 100.0)
    }),
];

fn table(capacity: f64, alone: &[PhaseResult], with_sign_ins: &[PhaseResult]) -> String {
    let mut lines = vec![
        ["", "alone", "with sign-ins", "ratio"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, value_of) in FIGURES {
        let [before, during] = [alone, with_sign_ins]
            .map(|phases| Spread::from_values(phases.iter().filter_map(value_of)));
        let text = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), Spread::text);
        let ratio = before
            .zip(during)
            .map_or_else(String::new, |(before, during)| {
                format!("{:.2}", during.median / before.median)
            });
        lines.push(vec![name.to_owned(), text(before), text(during), ratio]);
    }
    format!(
        "verify at {} per second, half of its capacity of {}; {CONCURRENT_SIGN_INS} concurrent sign-ins\n\n{}",
        group_digits(capacity / 2.0),
        group_digits(capacity),
        align_columns(&lines)
    )
}

fn phases_json(phases: &[PhaseResult]) -> Value {
    let figure = |(name, value_of): PhaseFigure| {
        (
            name.to_owned(),
            json!(Spread::from_values(phases.iter().filter_map(value_of)).map(Spread::json)),
        )
    };
    FIGURES.into_iter().map(figure).collect()
}
