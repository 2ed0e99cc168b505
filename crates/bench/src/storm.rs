//! `--storm`: does a storm of sign-ins slow anything but sign-ins? Verify at half of its capacity,
//! at a fixed rate, alone and while as many passwords as possible are hashed; in turn, so that a
//! clock that drifts moves both.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, say},
    pace::{self, KeyRotationPolicy, Plan},
    report::{Spread, aligned, grouped},
    traffic::{self, Traffic, Whose},
};

/// Seconds of each phase.
const PHASE: u64 = 4;

/// A storm has begun when its queue is full.
const HEAD_START: Duration = Duration::from_millis(500);

/// Sign-ins at a time: twice as many a second as two cores can hash.
const SIGN_INS: u16 = 64;

/// Each of them tries again so long after its answer. At once would be another storm: of refusals,
/// which cost next to nothing each and take whatever is left.
const BREATH: Duration = Duration::from_millis(100);

/// Verify has as many connections as it may need, so that none waits for another.
const CONNECTIONS: usize = 128;

/// Another thread asks whether the process runs, so many times a second: no I/O, no lock, nothing
/// but the async workers.
const LIVE_RATE: f64 = 200.0;

/// One phase.
struct Phase {
    verify: KeyRotationPolicy,
    live: KeyRotationPolicy,
    /// Sign-ins a second that were answered 200, and the share of all that were refused, busy.
    sign_ins: Option<(f64, f64)>,
}

/// Measures, and tells.
pub fn run(bench: &Bench, rounds: usize) -> Outcome<Value> {
    say("measuring the capacity");
    let many = Traffic::Verify(Whose::Many);
    bench.drive(&bench.server, many, 64, 1)?;
    let capacity = bench.drive(&bench.server, many, 64, PHASE)?.0.rate();
    let (requests, rate) = (bench.requests(many, 1)?, capacity / 2.0);
    let (mut alone, mut stormy) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        say(&format!(
            "round {round} of {rounds}: {} per second alone, then during sign-ins",
            grouped(rate)
        ));
        alone.push(phase(bench, &requests, rate, false)?);
        stormy.push(phase(bench, &requests, rate, true)?);
    }
    println!(
        "{}\n\n{}",
        bench.machine.line(),
        table(capacity, &alone, &stormy)
    );
    Ok(json!({
        "machine": bench.machine.json(),
        "capacity": capacity,
        "rate": rate,
        "alone": phases_json(&alone),
        "storm": phases_json(&stormy),
    }))
}

fn phase(bench: &Bench, requests: &[String], rate: f64, with_storm: bool) -> Outcome<Phase> {
    let mut storm = None;
    if with_storm {
        let file = traffic::write(
            &bench.requests(Traffic::Login, PHASE)?,
            bench.stores.folder(),
        )?;
        storm = Some(
            bench
                .wrk
                .start(bench.server.address, &file, SIGN_INS, BREATH, PHASE + 2)?,
        );
        thread::sleep(HEAD_START);
    }
    let to = &[bench.server.address];
    let live = ["GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()];
    let count = |rate: f64| (rate * PHASE as f64) as usize;
    let live = Plan {
        to,
        requests: &live,
        count: count(LIVE_RATE),
        connections: 4,
        rate: Some(LIVE_RATE),
    };
    let verify = Plan {
        to,
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
    if took > 1.5 * PHASE as f64 {
        return Err(format!("the rate wasn't reached: {PHASE} s took {took:.1} s").into());
    }
    let shot = storm.map(|storm| storm.finish()).transpose()?;
    let sign_ins = shot
        .map(|shot| shot.refused / shot.responses)
        .zip(shot)
        .map(|(busy, shot)| (shot.rate() * (1.0 - busy), busy));
    Ok(Phase {
        verify: verify?,
        live: live??,
        sign_ins,
    })
}

/// What is told of a phase, with its unit.
type Figure = (&'static str, fn(&Phase) -> Option<f64>);

const FIGURES: [Figure; 6] = [
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

fn table(capacity: f64, alone: &[Phase], stormy: &[Phase]) -> String {
    let mut lines = vec![
        ["", "alone", "with sign-ins", "ratio"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, of) in FIGURES {
        let [before, during] =
            [alone, stormy].map(|phases| Spread::of(phases.iter().filter_map(of)));
        let text = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), Spread::text);
        let ratio = before
            .zip(during)
            .map_or_else(String::new, |(before, during)| {
                format!("{:.2}", during.median / before.median)
            });
        lines.push(vec![name.to_owned(), text(before), text(during), ratio]);
    }
    format!(
        "verify at {} per second, half of its capacity of {}; {SIGN_INS} concurrent sign-ins\n\n{}",
        grouped(capacity / 2.0),
        grouped(capacity),
        aligned(&lines)
    )
}

fn phases_json(phases: &[Phase]) -> Value {
    let figure = |(name, of): Figure| {
        (
            name.to_owned(),
            json!(Spread::of(phases.iter().filter_map(of)).map(Spread::json)),
        )
    };
    FIGURES.into_iter().map(figure).collect()
}
