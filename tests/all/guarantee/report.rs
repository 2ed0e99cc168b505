//! The results of the runs as a table.

use std::time::Duration;

use super::{checker::ResponseCounts, load::Recovery, run::Outcome};

const COLUMNS: [&str; 14] = [
    "fault",
    "times",
    "successful sign-outs",
    "after a failed attempt",
    "checks",
    "accepted",
    "started after the sign-out",
    "by memory, Redis, PostgreSQL, unavailable",
    "checks 503 (no response)",
    "sign-outs 503 (no response)",
    "violations",
    "recovery of checks, median (worst)",
    "recovery of sign-outs, median (worst)",
    "sign-out p50, p99",
];

/// Returns the first lines of the table in Markdown.
pub fn header() -> String {
    format!(
        "{}\n{}",
        format_line(&COLUMNS),
        format_line(&["---"; COLUMNS.len()])
    )
}

/// Returns the line of one run.
pub fn row(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    let shares = outcome
        .check_counts
        .shares()
        .map(|share| format!("{share:.1}"))
        .join(", ");
    format_line(&[
        outcome.fault.description().to_owned(),
        outcome.recoveries.len().to_string(),
        verdict.revocations.to_string(),
        verdict.repeated.to_string(),
        verdict.checks.total.to_string(),
        verdict.checks.accepted.to_string(),
        verdict.late_checks.to_string(),
        format!("{shares} %"),
        format_failures(&verdict.checks),
        format_failures(&verdict.sign_outs),
        verdict.violations.len().to_string(),
        format_recovery(outcome, |recovery| recovery.checks),
        format_recovery(outcome, |recovery| recovery.sign_outs),
        format!(
            "{}, {}",
            format_duration(verdict.quantile(0.5)),
            format_duration(verdict.quantile(0.99))
        ),
    ])
}

fn format_line(cells: &[impl AsRef<str>; COLUMNS.len()]) -> String {
    format!(
        "| {} |",
        cells.each_ref().map(|cell| cell.as_ref()).join(" | ")
    )
}

fn format_failures(counts: &ResponseCounts) -> String {
    let share = |count: usize| count as f64 * 100.0 / counts.total.max(1) as f64;
    format!(
        "{:.2} % ({:.2} %)",
        share(counts.unavailable),
        share(counts.none)
    )
}

fn format_recovery(outcome: &Outcome, select: impl Fn(&Recovery) -> Duration) -> String {
    let mut durations: Vec<_> = outcome.recoveries.iter().map(select).collect();
    durations.sort_unstable();
    let (median, worst) = (
        durations[durations.len() / 2],
        durations[durations.len() - 1],
    );
    format!("{} ({})", format_duration(median), format_duration(worst))
}

fn format_duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}
