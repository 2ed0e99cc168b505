//! `--outage`: Redis stands still for a minute, and then is killed for a minute, under a mixture of
//! requests at a fixed rate. Which of them are answered as they should be, and how long does it
//! take, once it is back, until all are?

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, say},
    interrupt,
    mixture::{self, Mixture},
    pace::{self, Plan, Record},
    replica::{ask, is_well},
    report::aligned,
    rounds, seed,
};

/// As usual.
const BEFORE: Duration = Duration::from_secs(10);

/// Long enough for whatever has to be made up for.
const AFTER: Duration = Duration::from_secs(30);

/// More than can wait at a time: those that ask a Redis without an answer wait for a tenth of a
/// second.
const CONNECTIONS: usize = 256;

/// How often it is looked whether all is as before.
const LOOK: Duration = Duration::from_millis(10);

/// What becomes of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGSTOP: connections stay open, and nothing is answered.
    Stands,
    /// SIGKILL: connections are refused. It starts again with what its file holds.
    Killed,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Fault::Stands => "Redis is suspended",
            Fault::Killed => "Redis is killed and restarted",
        }
    }
}

/// What was found under one fault.
struct Found {
    fault: Fault,
    responses: Vec<mixture::Part>,
    /// Seconds from the return of Redis until checks are answered from memory again, and until
    /// sign-outs are 204 again.
    memory: f64,
    logout: f64,
}

/// Measures, and tells. Redis is away for so many seconds, each time.
pub fn run(bench: &mut Bench, seconds: u64) -> Outcome<Value> {
    let away = Duration::from_secs(seconds);
    let length = BEFORE + away + AFTER;
    mixture::fits(2, length)?;
    rounds::adopt_all(bench)?;
    let mut found = Vec::new();
    for (turn, fault) in [Fault::Stands, Fault::Killed].into_iter().enumerate() {
        bench.server.until_it_knows(seed::REVOCATIONS)?;
        say(&format!("{} for {seconds} s", fault.name()));
        let counters = bench.stores.redis()?.counters()?;
        let mixture = Mixture::new(&bench.composer, turn, length, &counters);
        found.push(measure(bench, &mixture, fault, away)?);
    }
    println!("{}", bench.machine.line());
    for one in &found {
        println!("\n{}", table(one, seconds));
    }
    Ok(json!({
        "machine": bench.machine.json(),
        "seconds": seconds,
        "per_second": mixture::RATE,
        "faults": found.iter().map(found_json).collect::<Vec<_>>(),
    }))
}

fn measure(bench: &mut Bench, mixture: &Mixture, fault: Fault, away: Duration) -> Outcome<Found> {
    let (server, checks, requests) = (bench.server.address, bench.server.checks, &mixture.requests);
    // Signed out before: to repeat that is 204 as well, and publishes it again.
    let sign_out = &bench.composer.logout(seed::USERS);
    let plan = Plan {
        to: &[server],
        requests,
        count: requests.len(),
        connections: CONNECTIONS,
        rate: Some(mixture::RATE as f64),
    };
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| pace::record(&plan));
        let (gone, back) = take_away(bench, fault, away)?;
        let memory = scope.spawn(move || settled(over, back, || is_well(server, checks)));
        let logout = scope.spawn(move || settled(over, back, || signs_out(server, sign_out)));
        let record = load.join();
        over.store(true, Ordering::Relaxed);
        let record = record.map_err(|_| "a generator panicked")??;
        let [memory, logout] = [memory, logout].map(|look| look.join().unwrap_or(f64::INFINITY));
        Ok(Found {
            fault,
            responses: mixture.judge(&record.responses, since(&record, (gone, back))),
            memory,
            logout,
        })
    })
}

/// Offsets from the beginning of the load.
fn since(record: &Record, (gone, back): (Instant, Instant)) -> (Duration, Duration) {
    (
        gone.saturating_duration_since(record.began),
        back.saturating_duration_since(record.began),
    )
}

/// When Redis went away, and when it was back.
fn take_away(bench: &mut Bench, fault: Fault, away: Duration) -> Outcome<(Instant, Instant)> {
    sleep(BEFORE)?;
    let gone = Instant::now();
    match fault {
        Fault::Stands => bench.stores.redis.pause(),
        Fault::Killed => bench.stores.redis.kill(),
    }
    let slept = sleep(away);
    let mut back = Instant::now();
    match fault {
        Fault::Stands => bench.stores.redis.resume(),
        Fault::Killed => {
            bench.stores.redis.start_again()?;
            // It answers now: how long it reads its file is its own affair.
            back = Instant::now();
        }
    }
    slept.map(|()| (gone, back))
}

fn sleep(length: Duration) -> Outcome<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        interrupt::check()?;
        thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Looks again and again; seconds after `back` from which on all was well.
fn settled(over: &AtomicBool, back: Instant, mut is_well: impl FnMut() -> bool) -> f64 {
    let mut well_since = None;
    while !over.load(Ordering::Relaxed) {
        if is_well() {
            well_since.get_or_insert_with(|| back.elapsed().as_secs_f64());
        } else {
            well_since = None;
        }
        thread::sleep(LOOK);
    }
    well_since.unwrap_or(f64::INFINITY)
}

fn signs_out(server: SocketAddr, request: &str) -> bool {
    matches!(ask(server, request), Ok((204, _)))
}

fn table(found: &Found, seconds: u64) -> String {
    let heads = [
        "share of expected responses",
        "per second",
        "before",
        "during",
        "after",
        "p99 ms before",
        "during",
        "after",
        "last error after, s",
        "errors",
    ];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(found.responses.iter().map(mixture::Part::line));
    format!(
        "{} for {seconds} s\n\n{}\n\nafter Redis is available again: checks from memory after {:.2} s, \
         sign-outs with 204 after {:.2} s",
        found.fault.name(),
        aligned(&lines),
        found.memory,
        found.logout
    )
}

fn found_json(found: &Found) -> Value {
    json!({
        "fault": found.fault.name(),
        "kinds": found.responses.iter().map(mixture::Part::json).collect::<Vec<_>>(),
        "checks_from_memory_after_seconds": found.memory,
        "logout_204_after_seconds": found.logout,
    })
}
