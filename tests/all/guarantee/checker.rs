//! Checks the log of a run: one pass finds every check that violates the guarantee.

use std::{
    fmt,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `GET /auth/verify`.
    Check,
    /// `POST /logout`, or `POST /oauth/revoke` for tokens without a session.
    SignOut,
}

/// One request. All times are from the clock of this process.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub operation: Operation,
    /// The index of the session.
    pub session: usize,
    pub replica: usize,
    /// Before the first byte was sent.
    pub start: Instant,
    /// After the last byte was read.
    pub end: Instant,
    /// 0 if no response arrived.
    pub status: u16,
}

impl Event {
    fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A check that was accepted although it started after the response to the sign-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub session: usize,
    pub replica: usize,
    /// Time from the response to the start of the check.
    pub after: Duration,
}

/// The number of requests of one operation, by their result.
#[derive(Debug, Default)]
pub struct ResponseCounts {
    pub total: usize,
    pub accepted: usize,
    pub unavailable: usize,
    /// The connection broke, or no response arrived in time.
    pub none: usize,
}

impl ResponseCounts {
    fn add(&mut self, event: &Event) {
        self.total += 1;
        self.accepted += usize::from(event.succeeded());
        self.unavailable += usize::from(event.status == 503);
        self.none += usize::from(event.status == 0);
    }
}

/// The result of a run.
#[derive(Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Checks that returned 401 before a sign-out of the session was requested.
    pub wrongly_rejected: usize,
    /// Sessions whose sign-out returned 2xx.
    pub revocations: usize,
    /// Sessions whose sign-out returned 2xx after a failed attempt.
    pub repeated: usize,
    /// Sessions whose sign-out was requested and never returned 2xx.
    pub unfinished: usize,
    pub checks: ResponseCounts,
    /// Checks that started after the response to the sign-out. Each could have been a violation.
    pub late_checks: usize,
    pub sign_outs: ResponseCounts,
    /// Durations of the sign-outs that returned 2xx, sorted.
    pub durations: Vec<Duration>,
}

/// The sign-outs of one session.
#[derive(Clone, Copy, Default)]
struct SessionHistory {
    requested_at: Option<Instant>,
    revoked_at: Option<Instant>,
    repeated: bool,
}

impl SessionHistory {
    fn add_sign_out(&mut self, event: &Event) {
        self.requested_at = Some(
            self.requested_at
                .map_or(event.start, |requested_at| requested_at.min(event.start)),
        );
        if event.succeeded() {
            self.revoked_at = Some(
                self.revoked_at
                    .map_or(event.end, |revoked_at| revoked_at.min(event.end)),
            );
        } else {
            self.repeated = true;
        }
    }
}

/// Evaluates a log of this many sessions. The events can have any order.
pub fn evaluate(events: &[Event], session_count: usize) -> Verdict {
    let mut histories = vec![SessionHistory::default(); session_count];
    let mut verdict = Verdict::default();
    for event in events
        .iter()
        .filter(|event| event.operation == Operation::SignOut)
    {
        histories[event.session].add_sign_out(event);
        verdict.sign_outs.add(event);
        verdict
            .durations
            .extend(event.succeeded().then(|| event.end - event.start));
    }
    for event in events
        .iter()
        .filter(|event| event.operation == Operation::Check)
    {
        verdict.checks.add(event);
        verdict.add_check(event, &histories[event.session]);
    }
    verdict.durations.sort_unstable();
    verdict.revocations = histories
        .iter()
        .filter(|history| history.revoked_at.is_some())
        .count();
    verdict.repeated = histories
        .iter()
        .filter(|history| history.revoked_at.is_some() && history.repeated)
        .count();
    verdict.unfinished = histories
        .iter()
        .filter(|history| history.requested_at.is_some() && history.revoked_at.is_none())
        .count();
    verdict
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Verdict {
            wrongly_rejected,
            revocations,
            unfinished,
            checks,
            late_checks,
            sign_outs,
            ..
        } = self;
        write!(
            f,
            "{} violations, {wrongly_rejected} wrongly rejected, ",
            self.violations.len()
        )?;
        write!(
            f,
            "{revocations} revoked, {unfinished} unfinished, {late_checks} late checks; \
             {checks:?}, {sign_outs:?}"
        )
    }
}

impl Verdict {
    fn add_check(&mut self, check: &Event, history: &SessionHistory) {
        let is_valid = history
            .requested_at
            .is_none_or(|requested_at| check.end < requested_at);
        self.wrongly_rejected += usize::from(is_valid && check.status == 401);
        let Some(after) = history
            .revoked_at
            .and_then(|revoked_at| check.start.checked_duration_since(revoked_at))
        else {
            return;
        };
        // With equal times, the order is unknown.
        if after.is_zero() {
            return;
        }
        self.late_checks += 1;
        if check.succeeded() {
            self.violations.push(Violation {
                session: check.session,
                replica: check.replica,
                after,
            });
        }
    }

    /// Returns a quantile of the durations of successful sign-outs.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.durations.len().saturating_sub(1);
        self.durations
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or_default()
    }
}

#[path = "checker_tests.rs"]
mod tests;
