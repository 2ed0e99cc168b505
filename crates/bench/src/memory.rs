//! `--memory`: measures whether the resident memory grows with the number of requests. The 100,000
//! distinct tokens exceed the capacity of every cache.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, print_progress},
    interrupt,
    pace::{self, Plan},
    report::{align_columns, group_digits},
    seed, usage,
};

const DISTINCT_TOKENS: usize = 100_000;

/// Total number of requests at each reading of the resident memory.
const STAGES: [usize; 2] = [200_000, 1_000_000];

const CONCURRENT_CALLERS: usize = 64;

/// The server aggregates metric samples every second, and the allocator then releases free memory.
const SETTLE_TIME: Duration = Duration::from_secs(7);

/// Measures and prints the figures, and returns them as JSON.
pub fn run(bench: &Bench) -> Outcome<Value> {
    print_progress("signing 100,000 tokens");
    let now = crate::now();
    let users = (0..DISTINCT_TOKENS as u64).map(|index| index % seed::USER_COUNT + 1);
    let requests = users.map(|user| {
        Ok(bench
            .request_builder
            .verify_with(&bench.request_builder.keys().sign_access_token(user, now)?))
    });
    let requests = requests.collect::<Outcome<Vec<_>>>()?;
    let (pid, addresses, mut sent, mut readings) =
        (bench.server.pid(), &[bench.server.address], 0, Vec::new());
    readings.push((0, usage::resident(pid)?));
    for stage in STAGES {
        print_progress(&format!("{} requests", group_digits(stage as f64)));
        let count = stage - sent;
        let plan = Plan {
            addresses,
            requests: &requests,
            count,
            connections: CONCURRENT_CALLERS,
            rate: None,
        };
        let rate = pace::run(&plan, 204)?.rate;
        sent = stage;
        print_progress(&format!(
            "{} per second; waiting until the server is idle",
            group_digits(rate)
        ));
        thread::sleep(SETTLE_TIME);
        interrupt::check()?;
        readings.push((stage, usage::resident(pid)?));
    }
    let ratio = readings[2].1 as f64 / readings[1].1 as f64;
    println!(
        "{}\n\n{}\n\nratio of the last two: {ratio:.3}",
        bench.machine.line(),
        table(&readings)
    );
    println!("peak: {:.1} MB", usage::peak(pid)? as f64 / 1e6);
    let stages: Vec<Value> = readings
        .iter()
        .map(|(requests, bytes)| json!({ "requests": requests, "bytes": bytes }))
        .collect();
    Ok(json!({
        "machine": bench.machine.json(),
        "tokens": DISTINCT_TOKENS,
        "resident": stages,
        "ratio": ratio,
    }))
}

fn table(readings: &[(usize, u64)]) -> String {
    let mut lines = vec![vec!["requests".to_owned(), "resident MB".to_owned()]];
    lines.extend(readings.iter().map(|(requests, bytes)| {
        vec![
            group_digits(*requests as f64),
            format!("{:.1}", *bytes as f64 / 1e6),
        ]
    }));
    align_columns(&lines)
}
