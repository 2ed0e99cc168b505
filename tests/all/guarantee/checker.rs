//! What happened, and whether the promise was kept: one pass over the log finds every check that it
//! forbids.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `GET /auth/verify`.
    Check,
    /// `POST /logout`, or `POST /oauth/revoke` of what is of no session.
    LogOut,
}

/// One request. All moments are of one clock, the one of this process.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub operation: Operation,
    /// The number of the session.
    pub session: usize,
    pub replica: usize,
    /// Before the first byte was sent.
    pub start: Instant,
    /// After the last byte was read.
    pub end: Instant,
    /// 0 where no answer came.
    pub status: u16,
}

impl Event {
    fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A check that was accepted though it began after the session's logout had been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub session: usize,
    pub replica: usize,
    /// How long after the logout's answer the check began.
    pub after: Duration,
}

/// How requests of one kind were answered.
#[derive(Debug, Default)]
pub struct TestResponses {
    pub all: usize,
    pub accepted: usize,
    pub unavailable: usize,
    /// The connection broke, or nothing came in time.
    pub none: usize,
}

impl TestResponses {
    fn count(&mut self, event: &Event) {
        self.all += 1;
        self.accepted += usize::from(event.succeeded());
        self.unavailable += usize::from(event.status == 503);
        self.none += usize::from(event.status == 0);
    }
}

/// What the log says.
#[derive(Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Checks that were refused with 401 before anybody asked for the session's end.
    pub wrongly_refused: usize,
    /// Sessions whose logout was answered with 2xx.
    pub revocations: usize,
    /// Those of them for which an attempt before was not.
    pub repeated: usize,
    /// Sessions that somebody tried to end, and no logout of which was answered with 2xx.
    pub unfinished: usize,
    pub checks: TestResponses,
    /// Checks that began after the logout's answer: each of them could have been a violation.
    pub late_checks: usize,
    pub logouts: TestResponses,
    /// How long the logouts took that were answered with 2xx, sorted.
    pub times: Vec<Duration>,
}

/// What is known of one session before the checks are judged.
#[derive(Clone, Copy, Default)]
struct Fate {
    requested: Option<Instant>,
    ended: Option<Instant>,
    repeated: bool,
}

impl Fate {
    fn note(&mut self, event: &Event) {
        self.requested = Some(
            self.requested
                .map_or(event.start, |requested| requested.min(event.start)),
        );
        if event.succeeded() {
            self.ended = Some(self.ended.map_or(event.end, |ended| ended.min(event.end)));
        } else {
            self.repeated = true;
        }
    }
}

/// Judges a log of this many sessions, in whatever order it is.
pub fn judge(events: &[Event], sessions: usize) -> Verdict {
    let mut fates = vec![Fate::default(); sessions];
    let mut verdict = Verdict::default();
    for event in events
        .iter()
        .filter(|event| event.operation == Operation::LogOut)
    {
        fates[event.session].note(event);
        verdict.logouts.count(event);
        verdict
            .times
            .extend(event.succeeded().then(|| event.end - event.start));
    }
    for event in events
        .iter()
        .filter(|event| event.operation == Operation::Check)
    {
        verdict.checks.count(event);
        verdict.weigh(event, &fates[event.session]);
    }
    verdict.times.sort_unstable();
    verdict.revocations = fates.iter().filter(|fate| fate.ended.is_some()).count();
    verdict.repeated = fates
        .iter()
        .filter(|fate| fate.ended.is_some() && fate.repeated)
        .count();
    verdict.unfinished = fates
        .iter()
        .filter(|fate| fate.requested.is_some() && fate.ended.is_none())
        .count();
    verdict
}

/// In short.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Verdict {
            wrongly_refused,
            revocations,
            unfinished,
            checks,
            late_checks,
            logouts,
            ..
        } = self;
        write!(
            f,
            "{} violations, {wrongly_refused} wrongly refused, ",
            self.violations.len()
        )?;
        write!(
            f,
            "{revocations} revoked, {unfinished} unfinished, {late_checks} late checks; \
             {checks:?}, {logouts:?}"
        )
    }
}

impl Verdict {
    fn weigh(&mut self, check: &Event, fate: &Fate) {
        let before = fate.requested.is_none_or(|requested| check.end < requested);
        self.wrongly_refused += usize::from(before && check.status == 401);
        let Some(after) = fate
            .ended
            .and_then(|ended| check.start.checked_duration_since(ended))
        else {
            return;
        };
        // Of two at one moment nobody knows which was first.
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

    /// The time that this share of the logouts stayed within.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or_default()
    }
}

#[path = "checker_tests.rs"]
mod tests;
