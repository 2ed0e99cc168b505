//! Positive controls: the checker finds the violations in handwritten logs.

use std::time::{Duration, Instant};

use super::{Event, Operation, Verdict, evaluate};

/// Evaluates a log of one replica: operation, session, start and end in milliseconds, status.
fn evaluate_lines(lines: &[(Operation, usize, u64, u64, u16)]) -> Verdict {
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
    evaluate(&lines.iter().map(event).collect::<Vec<_>>(), 3)
}

use Operation::{Check, SignOut};

#[test]
fn accepted_check_after_the_response_is_a_violation() {
    let verdict = evaluate_lines(&[
        (Check, 1, 0, 5, 204),
        (SignOut, 1, 10, 20, 204),
        (Check, 1, 21, 22, 204),
    ]);
    let violations: Vec<_> = verdict
        .violations
        .iter()
        .map(|violation| (violation.session, violation.after.as_millis()))
        .collect();
    assert_eq!(violations, [(1, 1)]);
    assert_eq!((verdict.late_checks, verdict.checks.accepted), (1, 2));
}

#[test]
fn order_of_the_log_is_irrelevant() {
    let verdict = evaluate_lines(&[(Check, 1, 21, 22, 200), (SignOut, 1, 10, 20, 204)]);
    assert_eq!(verdict.violations.len(), 1);
}

#[test]
fn accepted_check_before_the_response_is_allowed() {
    let verdict = evaluate_lines(&[
        (SignOut, 1, 10, 20, 204),
        (Check, 1, 15, 40, 204),
        (Check, 1, 20, 30, 204),
    ]);
    assert_eq!((verdict.violations.len(), verdict.late_checks), (0, 0));
}

#[test]
fn rejections_and_failures_are_not_violations() {
    let verdict = evaluate_lines(&[
        (SignOut, 1, 10, 20, 204),
        (Check, 1, 30, 40, 401),
        (Check, 1, 30, 40, 503),
        (Check, 1, 30, 40, 0),
    ]);
    assert_eq!(
        (
            verdict.violations.len(),
            verdict.late_checks,
            verdict.wrongly_rejected
        ),
        (0, 3, 0)
    );
    assert_eq!((verdict.checks.unavailable, verdict.checks.none), (1, 1));
}

#[test]
fn sign_out_of_another_session_is_irrelevant() {
    let verdict = evaluate_lines(&[(SignOut, 1, 10, 20, 204), (Check, 2, 30, 40, 204)]);
    assert_eq!((verdict.violations.len(), verdict.late_checks), (0, 0));
}

#[test]
fn failed_sign_out_guarantees_nothing() {
    let verdict = evaluate_lines(&[
        (SignOut, 1, 10, 20, 503),
        (SignOut, 2, 10, 20, 0),
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

/// The guarantee starts with the first response, even if a repeat takes longer.
#[test]
fn first_successful_response_starts_the_guarantee() {
    let verdict = evaluate_lines(&[
        (SignOut, 1, 0, 5, 503),
        (SignOut, 1, 30, 90, 204),
        (SignOut, 1, 10, 20, 204),
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
fn rejection_of_a_valid_session_is_counted() {
    let verdict = evaluate_lines(&[
        (Check, 0, 0, 5, 401),
        (Check, 1, 0, 5, 401),
        (Check, 1, 12, 15, 401),
        (SignOut, 1, 10, 20, 204),
        (Check, 2, 0, 5, 204),
    ]);
    assert_eq!(verdict.wrongly_rejected, 2);
}

#[test]
fn quantiles_contain_successful_sign_outs_only() {
    let sign_outs: Vec<_> = (1..=99)
        .map(|time| (SignOut, 1, 0, time, 204))
        .chain([(SignOut, 1, 0, 5000, 503)])
        .collect();
    let verdict = evaluate_lines(&sign_outs);
    assert_eq!(
        (
            verdict.quantile(0.5).as_millis(),
            verdict.quantile(0.99).as_millis()
        ),
        (50, 98)
    );
    assert!(evaluate_lines(&[]).quantile(0.5).is_zero());
}
