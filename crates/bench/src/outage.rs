//! `--outage`: suspends Redis, and then kills it, under a request mixture at a fixed rate. Measures
//! the share of expected responses and the time to recovery.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    interrupt,
    mixture::{self, Mixture},
    pace::{self, Plan, Recording},
    replica::{is_ready, send_request},
    report::align_columns,
    rounds, seed,
};

/// Normal operation before the fault.
const TIME_BEFORE_FAULT: Duration = Duration::from_secs(10);

/// Includes the rebuild of the revocation log and the publication of pending revocations.
const TIME_AFTER_FAULT: Duration = Duration::from_secs(30);

/// Exceeds the number of concurrent requests. During the outage, requests that depend on Redis wait
/// for a tenth of a second.
const CONNECTIONS: usize = 256;

/// Interval of the recovery probes.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGSTOP: connections stay open, and Redis does not respond.
    Suspended,
    /// SIGKILL: connections fail. Redis restarts with its append-only file.
    Killed,
}

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Fault::Suspended => "Redis is suspended",
            Fault::Killed => "Redis is killed and restarted",
        }
    }
}

/// The result of one fault.
struct OutageResult {
    fault: Fault,
    responses: Vec<mixture::KindResult>,
    /// Seconds from the end of the outage until checks are served from memory, and until sign-outs
    /// return 204.
    memory: f64,
    logout: f64,
}

/// Measures and prints both faults. Each outage takes the given number of seconds.
pub fn run(bench: &mut Bench, seconds: u64) -> Outcome<Value> {
    let outage_length = Duration::from_secs(seconds);
    let length = TIME_BEFORE_FAULT + outage_length + TIME_AFTER_FAULT;
    mixture::check_capacity(2, length)?;
    rounds::restore_sessions(bench)?;
    let mut results = Vec::new();
    for (run, fault) in [Fault::Suspended, Fault::Killed].into_iter().enumerate() {
        bench.server.wait_until_ready(seed::REVOCATION_COUNT)?;
        print_progress(&format!("{} for {seconds} s", fault.name()));
        let counters = bench.stores.redis()?.rotation_counters()?;
        let mixture = Mixture::new(&bench.request_builder, run, length, &counters);
        results.push(measure(bench, &mixture, fault, outage_length)?);
    }
    println!("{}", bench.machine.line());
    for result in &results {
        println!("\n{}", table(result, seconds));
    }
    Ok(json!({
        "machine": bench.machine.json(),
        "seconds": seconds,
        "per_second": mixture::REQUESTS_PER_SECOND,
        "faults": results.iter().map(result_json).collect::<Vec<_>>(),
    }))
}

fn measure(
    bench: &mut Bench,
    mixture: &Mixture,
    fault: Fault,
    outage_length: Duration,
) -> Outcome<OutageResult> {
    let (server, metrics, check_source, requests) = (
        bench.server.address,
        bench.server.metrics,
        bench.server.check_source,
        &mixture.requests,
    );
    // The probe signs out the same session repeatedly. Each repetition returns 204 and publishes
    // the revocation again.
    let sign_out = &bench.request_builder.logout(seed::USER_COUNT);
    let plan = Plan {
        addresses: &[server],
        requests,
        count: requests.len(),
        connections: CONNECTIONS,
        rate: Some(mixture::REQUESTS_PER_SECOND as f64),
    };
    let finished = &AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| pace::run_unchecked(&plan));
        let (outage_start, outage_end) = inject_fault(bench, fault, outage_length)?;
        let memory = scope
            .spawn(move || poll_recovery(finished, outage_end, || is_ready(metrics, check_source)));
        let logout = scope
            .spawn(move || poll_recovery(finished, outage_end, || can_sign_out(server, sign_out)));
        let recording = load.join();
        finished.store(true, Ordering::Relaxed);
        let recording = recording.map_err(|_| "a generator panicked")??;
        let [memory, logout] = [memory, logout].map(|probe| probe.join().unwrap_or(f64::INFINITY));
        Ok(OutageResult {
            fault,
            responses: mixture.classify(
                &recording.responses,
                outage_offsets(&recording, (outage_start, outage_end)),
            ),
            memory,
            logout,
        })
    })
}

/// Converts the outage to offsets from the start of the load.
fn outage_offsets(
    recording: &Recording,
    (outage_start, outage_end): (Instant, Instant),
) -> (Duration, Duration) {
    (
        outage_start.saturating_duration_since(recording.began),
        outage_end.saturating_duration_since(recording.began),
    )
}

/// Injects the fault, and returns the start and the end of the outage.
fn inject_fault(
    bench: &mut Bench,
    fault: Fault,
    outage_length: Duration,
) -> Outcome<(Instant, Instant)> {
    sleep_interruptibly(TIME_BEFORE_FAULT)?;
    let outage_start = Instant::now();
    match fault {
        Fault::Suspended => bench.stores.redis.pause(),
        Fault::Killed => bench.stores.redis.kill(),
    }
    let slept = sleep_interruptibly(outage_length);
    let mut outage_end = Instant::now();
    match fault {
        Fault::Suspended => bench.stores.redis.resume(),
        Fault::Killed => {
            bench.stores.redis.restart()?;
            // Redis responds now. The time to load its file is not part of the recovery.
            outage_end = Instant::now();
        }
    }
    slept.map(|()| (outage_start, outage_end))
}

fn sleep_interruptibly(length: Duration) -> Outcome<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        interrupt::check()?;
        thread::sleep(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Polls until the load has finished. Returns the seconds from the end of the outage until the last
/// change to a successful result.
fn poll_recovery(
    finished: &AtomicBool,
    outage_end: Instant,
    mut is_ready: impl FnMut() -> bool,
) -> f64 {
    let mut ready_since = None;
    while !finished.load(Ordering::Relaxed) {
        if is_ready() {
            ready_since.get_or_insert_with(|| outage_end.elapsed().as_secs_f64());
        } else {
            ready_since = None;
        }
        thread::sleep(POLL_INTERVAL);
    }
    ready_since.unwrap_or(f64::INFINITY)
}

fn can_sign_out(server: SocketAddr, request: &str) -> bool {
    matches!(send_request(server, request), Ok((204, _)))
}

fn table(result: &OutageResult, seconds: u64) -> String {
    let headers = [
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
    let mut lines = vec![headers.map(str::to_owned).to_vec()];
    lines.extend(result.responses.iter().map(mixture::KindResult::line));
    format!(
        "{} for {seconds} s\n\n{}\n\nafter Redis is available again: checks from memory after {:.2} s, \
         sign-outs with 204 after {:.2} s",
        result.fault.name(),
        align_columns(&lines),
        result.memory,
        result.logout
    )
}

fn result_json(result: &OutageResult) -> Value {
    json!({
        "fault": result.fault.name(),
        "kinds": result.responses.iter().map(mixture::KindResult::json).collect::<Vec<_>>(),
        "checks_from_memory_after_seconds": result.memory,
        "logout_204_after_seconds": result.logout,
    })
}
