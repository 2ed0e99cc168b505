//! Logs written by hand: a checker that finds nothing in any of them would prove nothing.

use std::time::{Duration, Instant};

use super::{Event, Operation, Verdict, judge};

/// A log on one replica, in milliseconds: operation, session, start, end, status.
fn judged(lines: &[(Operation, usize, u64, u64, u16)]) -> Verdict {
    let zero = Instant::now();
    let at = |time| zero + Duration::from_millis(time);
    let event =
        |&(operation, session, start, end, status): &(Operation, usize, u64, u64, u16)| Event {
            operation,
            session,
            replica: 0,
            start: at(start),
            end: at(end),
            status,
        };
    judge(&lines.iter().map(event).collect::<Vec<_>>(), 3)
}

use Operation::{Check, LogOut};

#[test]
fn an_accepted_check_that_began_after_the_answer_is_a_violation() {
    let verdict = judged(&[
        (Check, 1, 0, 5, 204),
        (LogOut, 1, 10, 20, 204),
        (Check, 1, 21, 22, 204),
    ]);
    let found: Vec<_> = verdict
        .violations
        .iter()
        .map(|found| (found.session, found.after.as_millis()))
        .collect();
    assert_eq!(found, [(1, 1)]);
    assert_eq!((verdict.late_checks, verdict.checks.accepted), (1, 2));
}

#[test]
fn the_order_of_the_log_does_not_matter() {
    let verdict = judged(&[(Check, 1, 21, 22, 200), (LogOut, 1, 10, 20, 204)]);
    assert_eq!(verdict.violations.len(), 1);
}

#[test]
fn a_check_that_began_before_the_answer_may_be_accepted() {
    let verdict = judged(&[
        (LogOut, 1, 10, 20, 204),
        (Check, 1, 15, 40, 204),
        (Check, 1, 20, 30, 204),
    ]);
    assert_eq!((verdict.violations.len(), verdict.late_checks), (0, 0));
}

#[test]
fn refusals_and_failures_are_no_violations() {
    let verdict = judged(&[
        (LogOut, 1, 10, 20, 204),
        (Check, 1, 30, 40, 401),
        (Check, 1, 30, 40, 503),
        (Check, 1, 30, 40, 0),
    ]);
    assert_eq!(
        (
            verdict.violations.len(),
            verdict.late_checks,
            verdict.wrongly_refused
        ),
        (0, 3, 0)
    );
    assert_eq!((verdict.checks.unavailable, verdict.checks.none), (1, 1));
}

#[test]
fn sessions_are_told_apart() {
    let verdict = judged(&[(LogOut, 1, 10, 20, 204), (Check, 2, 30, 40, 204)]);
    assert_eq!((verdict.violations.len(), verdict.late_checks), (0, 0));
}

#[test]
fn an_attempt_that_failed_promises_nothing() {
    let verdict = judged(&[
        (LogOut, 1, 10, 20, 503),
        (LogOut, 2, 10, 20, 0),
        (Check, 1, 30, 40, 204),
    ]);
    assert_eq!(
        (
            verdict.violations.len(),
            verdict.unfinished,
            verdict.revocations
        ),
        (0, 2, 0)
    );
}

/// A repeat may take longer; what counts is the first answer.
#[test]
fn the_first_answer_is_the_promise() {
    let verdict = judged(&[
        (LogOut, 1, 0, 5, 503),
        (LogOut, 1, 30, 90, 204),
        (LogOut, 1, 10, 20, 204),
        (Check, 1, 40, 41, 204),
    ]);
    assert_eq!(
        (
            verdict.violations.len(),
            verdict.revocations,
            verdict.repeated
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_live_session_that_is_refused_is_told() {
    let verdict = judged(&[
        (Check, 0, 0, 5, 401),
        (Check, 1, 0, 5, 401),
        (Check, 1, 12, 15, 401),
        (LogOut, 1, 10, 20, 204),
        (Check, 2, 0, 5, 204),
    ]);
    assert_eq!(verdict.wrongly_refused, 2);
}

#[test]
fn times_are_of_the_logouts_that_succeeded() {
    let logouts: Vec<_> = (1..=99)
        .map(|time| (LogOut, 1, 0, time, 204))
        .chain([(LogOut, 1, 0, 5000, 503)])
        .collect();
    let verdict = judged(&logouts);
    assert_eq!(
        (
            verdict.quantile(0.5).as_millis(),
            verdict.quantile(0.99).as_millis()
        ),
        (50, 98)
    );
    assert!(judged(&[]).quantile(0.5).is_zero());
}
