//! Decides which rows the republish worker compares next. Without I/O; all times are of the clock
//! of PostgreSQL.

use std::time::Duration;

use time::OffsetDateTime;

/// The window of the occasional comparison, which finds rows and identities that a PostgreSQL server
/// with another clock stored before a failover. Clocks differ by at most two minutes.
pub const CLOCK_STEP_WINDOW: Duration = Duration::from_secs(300);

/// The interval between two comparisons with the larger window.
const CLOCK_STEP_INTERVAL: Duration = Duration::from_secs(30);

/// How far the comparison has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepublishProgress {
    /// Rows that were committed before this time are published.
    since: Option<OffsetDateTime>,
    /// The time of the last comparison with the larger window.
    last_wide_comparison: Option<OffsetDateTime>,
    /// The progress is valid as long as this replica follows the same log.
    log_generation: u64,
}

/// The next comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Rows that were revoked at this time or later are compared.
    pub rows_since: OffsetDateTime,
    /// Identities that changed at this time or later are stored in Redis; `None` for all that Redis
    /// can contain.
    pub identities_since: Option<OffsetDateTime>,
    /// The progress after the comparison has succeeded.
    pub next: RepublishProgress,
}

impl RepublishProgress {
    /// Plans a comparison at `now` with the log of this generation. A new log requires all rows.
    ///
    /// `overlap` is the overlap of two comparisons: a commit becomes visible after its time.
    pub fn plan(&self, now: OffsetDateTime, log_generation: u64, overlap: Duration) -> Comparison {
        let since = self.since.filter(|_| self.log_generation == log_generation);
        let last_wide_comparison = self
            .last_wide_comparison
            .filter(|last| now - *last < CLOCK_STEP_INTERVAL);
        let widen = |since| match last_wide_comparison {
            Some(_) => since,
            None => since - CLOCK_STEP_WINDOW,
        };
        Comparison {
            rows_since: since.map_or(OffsetDateTime::UNIX_EPOCH, widen),
            identities_since: self.since.map(widen),
            next: RepublishProgress {
                since: Some(now - overlap),
                last_wide_comparison: last_wide_comparison.or(Some(now)),
                log_generation,
            },
        }
    }

    /// Plans a comparison that doesn't depend on a log, after the later one of two progresses.
    pub fn plan_without_log(
        &self,
        other: &RepublishProgress,
        now: OffsetDateTime,
        overlap: Duration,
    ) -> Comparison {
        let later = if self.since >= other.since {
            self
        } else {
            other
        };
        later.plan(now, later.log_generation, overlap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn comparison_without_log_continues_the_later_progress() {
        let earlier = RepublishProgress::default()
            .plan(at(1_000), 7, OVERLAP)
            .next;
        let later = RepublishProgress::default()
            .plan(at(1_005), 8, OVERLAP)
            .next;
        for (one, other) in [(&earlier, &later), (&later, &earlier)] {
            let comparison = one.plan_without_log(other, at(1_006), OVERLAP);
            assert_eq!(comparison.rows_since, at(990));
        }
    }

    #[test]
    fn new_log_compares_all_rows() {
        let first = RepublishProgress::default().plan(at(1_000), 7, OVERLAP);
        assert_eq!(
            (first.rows_since, first.identities_since),
            (OffsetDateTime::UNIX_EPOCH, None)
        );
        let same_log = first.next.plan(at(1_001), 7, OVERLAP);
        assert_eq!(same_log.rows_since, at(985));
        let other_log = first.next.plan(at(1_001), 8, OVERLAP);
        assert_eq!(
            (other_log.rows_since, other_log.identities_since),
            (OffsetDateTime::UNIX_EPOCH, Some(at(985))),
            "Redis keeps the users when only the log is new"
        );
    }

    #[test]
    fn window_is_larger_every_thirty_seconds() {
        let mut progress = RepublishProgress::default()
            .plan(at(1_000), 7, OVERLAP)
            .next;
        for (now, rows_since) in [
            (1_001, 985),
            (1_029, 986),
            // The larger window.
            (1_030, 1_014 - 300),
            (1_031, 1_015),
            (1_059, 1_016),
            (1_060, 1_044 - 300),
        ] {
            let comparison = progress.plan(at(now), 7, OVERLAP);
            assert_eq!(comparison.rows_since, at(rows_since), "{now}");
            assert_eq!(comparison.identities_since, Some(at(rows_since)), "{now}");
            progress = comparison.next;
        }
    }

    /// A failed comparison doesn't replace the progress.
    #[test]
    fn repeated_plan_covers_the_rows_of_a_failed_one() {
        let progress = RepublishProgress::default()
            .plan(at(1_000), 7, OVERLAP)
            .next;
        let failed = progress.plan(at(1_010), 7, OVERLAP);
        let repeated = progress.plan(at(1_020), 7, OVERLAP);
        assert_eq!(failed.rows_since, repeated.rows_since);
        assert_eq!(
            repeated.next.plan(at(1_021), 7, OVERLAP).rows_since,
            at(1_005)
        );
    }

    /// After a failover, the clock of PostgreSQL can be behind.
    #[test]
    fn clock_step_back_keeps_the_earlier_rows() {
        let progress = RepublishProgress::default()
            .plan(at(1_000), 7, OVERLAP)
            .next;
        let stepped = progress.plan(at(900), 7, OVERLAP);
        assert_eq!(stepped.rows_since, at(985));
        let later = stepped.next.plan(at(1_030), 7, OVERLAP);
        assert_eq!(later.rows_since, at(885 - 300), "with the larger window");
    }
}
