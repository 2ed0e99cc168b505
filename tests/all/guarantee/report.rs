//! What came of the runs, as a table for people.

use std::time::Duration;

use super::{checker::TestResponses, load::Recovery, run::Outcome};

/// What is told of each run.
const HEAD: [&str; 14] = [
    "fault",
    "times",
    "logouts answered 204",
    "after a failed attempt",
    "checks",
    "accepted",
    "begun after the logout",
    "by memory, Redis, PostgreSQL, nobody",
    "checks 503 (no response)",
    "logouts 503 (no response)",
    "violations",
    "checks again after, median (worst)",
    "logouts again after, median (worst)",
    "logout p50, p99",
];

/// The first lines, in Markdown.
pub fn head() -> String {
    format!("{}\n{}", line(&HEAD), line(&["---"; HEAD.len()]))
}

/// The line of one run.
pub fn row(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    let responses = outcome
        .rungs
        .shares()
        .map(|share| format!("{share:.1}"))
        .join(", ");
    line(&[
        outcome.fault.told().to_owned(),
        outcome.recoveries.len().to_string(),
        verdict.revocations.to_string(),
        verdict.repeated.to_string(),
        verdict.checks.all.to_string(),
        verdict.checks.accepted.to_string(),
        verdict.late_checks.to_string(),
        format!("{responses} %"),
        failures(&verdict.checks),
        failures(&verdict.logouts),
        verdict.violations.len().to_string(),
        times(outcome, |recovery| recovery.checks),
        times(outcome, |recovery| recovery.logouts),
        format!(
            "{}, {}",
            told(verdict.quantile(0.5)),
            told(verdict.quantile(0.99))
        ),
    ])
}

fn line(cells: &[impl AsRef<str>; HEAD.len()]) -> String {
    format!(
        "| {} |",
        cells.each_ref().map(|cell| cell.as_ref()).join(" | ")
    )
}

fn failures(responses: &TestResponses) -> String {
    let share = |count: usize| count as f64 * 100.0 / responses.all.max(1) as f64;
    format!(
        "{:.2} % ({:.2} %)",
        share(responses.unavailable),
        share(responses.none)
    )
}

fn times(outcome: &Outcome, which: impl Fn(&Recovery) -> Duration) -> String {
    let mut times: Vec<_> = outcome.recoveries.iter().map(which).collect();
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    format!("{} ({})", told(median), told(worst))
}

fn told(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}
