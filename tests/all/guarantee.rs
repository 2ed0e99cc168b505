//! Immediate revocation on every replica, under faults.
//!
//! A load records every request while faults are injected. The checker then searches for checks
//! that were accepted although they started after the response to the sign-out.
//!
//! Each fault is injected a few times here; `./dev chaos` is the long run.

mod check_sources; // counters of the replicas
mod checker; // one pass over the log finds every violation
mod client; // a minimal HTTP client
mod fault; // the faults
mod fleet; // three replicas and their connections
mod load; // concurrent requests
mod report; // the table of the runs
mod run; // one run, from the first session to the verdict
mod sessions; // thousands of credentials

use std::{env, process::Command, time::Duration};

use fault::Fault;
use run::{Outcome, Scale, run};
use tokio::sync::Semaphore;

use crate::test_server::binary;

/// A run of a few seconds in a debug build, on a machine that runs other tests as well.
const SHORT_RUN: Scale = Scale {
    revocations: 150,
    actors: 12,
    pace: Duration::from_millis(250),
    rounds: 4,
    limit: Duration::from_secs(300),
    // The Redis timeout is longer than the default, because the machine is busy.
    settings: &[
        ACCESS_LIFETIME,
        ("LATCHKEY_REDIS_TIMEOUT", "1s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
    ],
};

/// Tokens do not expire during a run.
const ACCESS_LIFETIME: (&str, &str) = ("LATCHKEY_ACCESS_LIFETIME", "1h");

/// A run with at least this many sign-outs.
fn long_run(revocations: usize) -> Scale {
    Scale {
        revocations,
        actors: 80,
        pace: Duration::from_millis(200),
        rounds: 5,
        limit: Duration::from_secs(900),
        settings: &[
            ACCESS_LIFETIME,
            ("LATCHKEY_REDIS_TIMEOUT", "100ms"),
            ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
        ],
    }
}

/// Asserts that no revoked credential was accepted, that no valid one was rejected, and that the
/// run had enough checks.
fn assert_guarantee(outcome: &Outcome, scale: Scale) {
    let verdict = &outcome.verdict;
    assert_eq!(verdict.violations, [], "{:?}", outcome.fault);
    assert_eq!(
        (
            verdict.wrongly_rejected,
            verdict.unfinished,
            outcome.not_rejected
        ),
        (0, 0, 0),
        "{verdict}"
    );
    assert!(
        verdict.revocations >= scale.revocations,
        "{}",
        verdict.revocations
    );
    assert!(
        verdict.checks.accepted > verdict.revocations,
        "valid credentials are accepted: {:?}",
        verdict.checks
    );
    assert!(
        outcome.check_counts.memory_count() > 0,
        "some checks are served from memory: {:?}",
        outcome.check_counts
    );
    // Each replica is checked immediately and later.
    assert!(
        verdict.late_checks > verdict.revocations * 6,
        "{}",
        verdict.late_checks
    );
}

/// Limits concurrent runs, because more of them would overload the stores on two cores.
static RUN_PERMITS: Semaphore = Semaphore::const_new(2);

async fn run_with_fault(fault: Fault) {
    if let Some(reason) = fault.missing_requirement() {
        println!("skipped `{}`: {reason}", fault.name());
        return;
    }
    let _permit = RUN_PERMITS.acquire().await.expect("an open semaphore");
    let outcome = run(fault, SHORT_RUN).await;
    println!(
        "{:?}\n{}\n{}",
        outcome.duration,
        report::header(),
        report::row(&outcome)
    );
    assert_guarantee(&outcome, SHORT_RUN);
}

/// Declares a test for each fault.
macro_rules! guarantee_tests {
    ($($(#[$attribute:meta])* $name:ident $fault:ident;)*) => {
        $(
            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run_with_fault(Fault::$fault).await;
            }
        )*
    };
}

guarantee_tests! {
    revocation_is_immediate_without_fault None;
    revocation_is_immediate_while_replica_is_paused StoppedReplica;
    revocation_is_immediate_while_replica_is_killed KilledReplica;
    revocation_is_immediate_while_redis_is_killed KilledRedis;
    revocation_is_immediate_while_redis_is_paused PausedRedis;
    revocation_is_immediate_while_redis_is_flushed FlushedRedis;
    revocation_is_immediate_while_log_is_lost LostLog;
    revocation_is_immediate_while_log_state_is_lost LostState;
    revocation_is_immediate_while_redis_fails_over Failover;
    revocation_is_immediate_while_redis_is_demoted DemotedRedis;
    revocation_is_immediate_with_two_primaries TwoPrimaries;
    revocation_is_immediate_while_connections_are_slow SlowConnections;
    revocation_is_immediate_while_connections_are_cut CutConnections;
    revocation_is_immediate_while_connections_are_half_open HalfOpenConnections;
    revocation_is_immediate_in_a_flood_of_sign_outs Flood;
    revocation_is_immediate_while_everything_restarts Restart;
    revocation_is_immediate_while_postgres_hangs HangingPostgresHost;
    revocation_is_immediate_while_clocks_step ClockStep;
    revocation_is_immediate_with_shifted_boot_times ShiftedBootTime;
    revocation_is_immediate_with_shared_prefix SharedPrefix;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 35 minutes: `./dev chaos`"]
async fn the_long_run() {
    let revocations = env::var("LATCHKEY_CHAOS_LOGOUTS")
        .map_or(10_000, |text| text.parse().expect("a number of sign-outs"));
    let (scale, mut outcomes) = (long_run(revocations), Vec::new());
    println!("\n{}", report::header());
    for fault in select_faults() {
        if let Some(reason) = fault.missing_requirement() {
            println!("skipped `{}`: {reason}", fault.name());
            continue;
        }
        let outcome = run(fault, scale).await;
        println!("{}", report::row(&outcome));
        outcomes.push(outcome);
    }
    outcomes
        .iter()
        .for_each(|outcome| assert_guarantee(outcome, scale));
}

/// Returns the faults in `LATCHKEY_CHAOS_FAULTS`, or all faults.
fn select_faults() -> Vec<Fault> {
    let names = env::var("LATCHKEY_CHAOS_FAULTS").unwrap_or_default();
    if names.is_empty() {
        return Fault::ALL.to_vec();
    }
    let find_fault = |name| {
        Fault::ALL
            .iter()
            .copied()
            .find(|fault| fault.name() == name)
    };
    names
        .split(',')
        .map(|name| {
            find_fault(name)
                .unwrap_or_else(|| panic!("unknown fault `{name}`; faults: {}", list_faults()))
        })
        .collect()
}

fn list_faults() -> String {
    Fault::ALL
        .iter()
        .map(|fault| fault.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The positive control: the checker detects a server that violates the guarantee.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "requires a server that violates the guarantee: `./dev chaos`"]
async fn positive_control_is_caught() {
    assert!(
        read_version().ends_with("(mutant)"),
        "{} is not a mutant",
        read_version()
    );
    let outcome = run(Fault::None, SHORT_RUN).await;
    println!(
        "violations of the mutant: {} of {}",
        outcome.verdict.violations.len(),
        outcome.verdict.late_checks
    );
    assert!(
        !outcome.verdict.violations.is_empty(),
        "the checker finds violations of the mutant"
    );
}

#[test]
fn shipped_binary_is_not_a_mutant() {
    assert_eq!(
        read_version(),
        concat!("latchkey ", env!("CARGO_PKG_VERSION"))
    );
}

fn read_version() -> String {
    let output = Command::new(binary())
        .arg("--version")
        .output()
        .expect("the binary runs");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}
