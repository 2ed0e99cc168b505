//! Logout means logout, on every replica, whatever breaks: a load that writes down every request,
//! faults that strike beside it, and a checker that looks for a check that was accepted though it
//! began after the logout's answer.
//!
//! Here each fault strikes a few times; `./dev chaos` is the long run.

mod check_sources; // who answered
mod checker; // one pass over the log finds every violation
mod client; // HTTP by hand
mod fault; // what breaks
mod fleet; // three replicas and their lines
mod load; // what is asked meanwhile
mod report; // the table
mod run; // one run, from the first session to the verdict
mod sessions; // made by the thousand

use std::{env, process::Command, time::Duration};

use fault::Fault;
use run::{Outcome, Scale, run};
use tokio::sync::Semaphore;

use crate::test_server::binary;

/// Seconds in a debug build, on a machine that runs other tests as well.
const BOUNDED: Scale = Scale {
    revocations: 150,
    actors: 12,
    pace: Duration::from_millis(250),
    rounds: 4,
    limit: Duration::from_secs(300),
    // Not the default for Redis: a busy machine is no broken store.
    settings: &[
        LIFETIME,
        ("LATCHKEY_REDIS_TIMEOUT", "1s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
    ],
};

/// Tokens outlive the run.
const LIFETIME: (&str, &str) = ("LATCHKEY_ACCESS_LIFETIME", "1h");

/// For as many logouts as are asked for.
fn long(revocations: usize) -> Scale {
    Scale {
        revocations,
        actors: 80,
        pace: Duration::from_millis(200),
        rounds: 5,
        limit: Duration::from_secs(900),
        settings: &[
            LIFETIME,
            ("LATCHKEY_REDIS_TIMEOUT", "100ms"),
            ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
        ],
    }
}

/// Nothing that was signed out was accepted, nothing else was refused, and there was much to be
/// seen.
fn holds(outcome: &Outcome, scale: Scale) {
    let verdict = &outcome.verdict;
    assert_eq!(verdict.violations, [], "{:?}", outcome.fault);
    assert_eq!(
        (
            verdict.wrongly_refused,
            verdict.unfinished,
            outcome.unrefused
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
        "what is alive is accepted: {:?}",
        verdict.checks
    );
    assert!(
        outcome.rungs.by_memory() > 0,
        "the promise is about responses from memory: {:?}",
        outcome.rungs
    );
    // On each replica, at once and later.
    assert!(
        verdict.late_checks > verdict.revocations * 6,
        "{}",
        verdict.late_checks
    );
}

/// Runs at once. Each has three replicas and a load; more of them starve the stores on two cores.
static RUNS: Semaphore = Semaphore::const_new(3);

async fn it_holds(fault: Fault) {
    let _run = RUNS.acquire().await.expect("never closed");
    let outcome = run(fault, BOUNDED).await;
    println!(
        "{:?}\n{}\n{}",
        outcome.took,
        report::head(),
        report::row(&outcome)
    );
    holds(&outcome, BOUNDED);
}

/// Declares a test for each fault.
macro_rules! promises {
    ($($name:ident $fault:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                it_holds(Fault::$fault).await;
            }
        )*
    };
}

promises! {
    logout_means_logout_on_every_replica None;
    logout_means_logout_while_a_replica_stands_still StoppedReplica;
    logout_means_logout_while_a_replica_is_killed KilledReplica;
    logout_means_logout_while_redis_is_killed KilledRedis;
    logout_means_logout_while_redis_stands_still PausedRedis;
    logout_means_logout_while_redis_is_flushed FlushedRedis;
    logout_means_logout_while_the_log_is_lost LostLog;
    logout_means_logout_while_the_state_is_lost LostState;
    logout_means_logout_while_redis_fails_over_to_a_server_that_lags Failover;
    logout_means_logout_while_lines_are_slow LateLines;
    logout_means_logout_while_lines_are_cut CutLines;
    logout_means_logout_while_lines_are_half_open HalfOpenLines;
    logout_means_logout_in_a_flood_of_them Flood;
    logout_means_logout_while_everything_is_restarted Restart;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a quarter of an hour: `./dev chaos`"]
async fn the_long_run() {
    let revocations = env::var("LATCHKEY_CHAOS_LOGOUTS")
        .map_or(10_000, |text| text.parse().expect("a number of logouts"));
    let (scale, mut outcomes) = (long(revocations), Vec::new());
    println!("\n{}", report::head());
    for fault in selected() {
        let outcome = run(fault, scale).await;
        println!("{}", report::row(&outcome));
        outcomes.push(outcome);
    }
    outcomes.iter().for_each(|outcome| holds(outcome, scale));
}

/// Those that are named, or all.
fn selected() -> Vec<Fault> {
    let names = env::var("LATCHKEY_CHAOS_FAULTS").unwrap_or_default();
    if names.is_empty() {
        return Fault::ALL.to_vec();
    }
    let known = |name| {
        Fault::ALL
            .iter()
            .copied()
            .find(|fault| fault.name() == name)
    };
    names
        .split(',')
        .map(|name| known(name).unwrap_or_else(|| panic!("there is no fault `{name}`: {}", all())))
        .collect()
}

fn all() -> String {
    Fault::ALL
        .iter()
        .map(|fault| fault.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The positive control: a gateway that was broken on purpose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants a server that breaks the promise: `./dev chaos`"]
async fn positive_control_is_caught() {
    assert!(
        version().ends_with("(mutant)"),
        "{} breaks nothing",
        version()
    );
    let outcome = run(Fault::None, BOUNDED).await;
    println!(
        "violations of the mutant: {} of {}",
        outcome.verdict.violations.len(),
        outcome.verdict.late_checks
    );
    assert!(
        !outcome.verdict.violations.is_empty(),
        "the checker does not see what the mutant does"
    );
}

#[test]
fn what_is_shipped_breaks_nothing_on_purpose() {
    assert_eq!(version(), concat!("latchkey ", env!("CARGO_PKG_VERSION")));
}

fn version() -> String {
    let output = Command::new(binary())
        .arg("--version")
        .output()
        .expect("the binary runs");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}
