//! `--memory`: does what is resident grow with what was seen? 100,000 distinct tokens, more than
//! any cache holds.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    bench::{Bench, say},
    interrupt,
    pace::{self, Plan},
    report::{aligned, grouped},
    seed, usage,
};

/// Distinct tokens.
const TOKENS: usize = 100_000;

/// Requests after which memory is looked at.
const STAGES: [usize; 2] = [200_000, 1_000_000];

/// So many at a time.
const CALLERS: usize = 64;

/// Samples of the metrics are folded every second, and the allocator gives back what is free.
const SETTLE: Duration = Duration::from_secs(7);

/// Measures, and tells.
pub fn run(bench: &Bench) -> Outcome<Value> {
    say("signing 100,000 tokens");
    let now = crate::now();
    let users = (0..TOKENS as u64).map(|turn| turn % seed::USERS + 1);
    let requests = users.map(|user| {
        Ok(bench
            .composer
            .verify_with(&bench.composer.keys().bearer(user, now)?))
    });
    let requests = requests.collect::<Outcome<Vec<_>>>()?;
    let (pid, to, mut sent, mut found) =
        (bench.server.pid(), &[bench.server.address], 0, Vec::new());
    found.push((0, usage::resident(pid)?));
    for stage in STAGES {
        say(&format!("{} requests", grouped(stage as f64)));
        let count = stage - sent;
        let plan = Plan {
            to,
            requests: &requests,
            count,
            connections: CALLERS,
            rate: None,
        };
        let rate = pace::run(&plan, 204)?.rate;
        sent = stage;
        say(&format!(
            "{} per second; waiting until the server is idle",
            grouped(rate)
        ));
        thread::sleep(SETTLE);
        interrupt::check()?;
        found.push((stage, usage::resident(pid)?));
    }
    let ratio = found[2].1 as f64 / found[1].1 as f64;
    println!(
        "{}\n\n{}\n\nratio of the last two: {ratio:.3}",
        bench.machine.line(),
        table(&found)
    );
    println!("peak: {:.1} MB", usage::peak(pid)? as f64 / 1e6);
    let stages: Vec<Value> = found
        .iter()
        .map(|(requests, bytes)| json!({ "requests": requests, "bytes": bytes }))
        .collect();
    Ok(json!({
        "machine": bench.machine.json(),
        "tokens": TOKENS,
        "resident": stages,
        "ratio": ratio,
    }))
}

fn table(found: &[(usize, u64)]) -> String {
    let mut lines = vec![vec!["requests".to_owned(), "resident MB".to_owned()]];
    lines.extend(found.iter().map(|(requests, bytes)| {
        vec![
            grouped(*requests as f64),
            format!("{:.1}", *bytes as f64 / 1e6),
        ]
    }));
    aligned(&lines)
}
