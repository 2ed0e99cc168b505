//! Recent outages of Redis, as one replica observed them.
//!
//! A client whose response was lost repeats its refresh token. It can't do so during an outage, so
//! outages don't count toward the reuse interval.

use std::{collections::VecDeque, time::Duration};

use crate::revocation::lease::{BootTime, nanoseconds};

/// The age at which an outage no longer counts, and so the longest extension of the reuse
/// interval.
pub const OUTAGE_WINDOW: Duration = Duration::from_secs(120);

/// The longest time after which an outage is detected: a renewal and its timeout.
const MAX_DETECTION_TIME: Duration = Duration::from_secs(5);

/// An outage, relative to the current time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The time since it began.
    pub began_ago: Duration,
    /// The time since it ended; zero if it continues.
    pub ended_ago: Duration,
}

/// Recent outages. All times are on one monotonic clock.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// The last time at which Redis was available.
    last_available: Option<BootTime>,
    /// Begin and end of each outage, oldest first.
    ended: VecDeque<(BootTime, BootTime)>,
    /// Begin of the current outage.
    began: Option<BootTime>,
}

impl Outages {
    /// Records that Redis was available at `now`.
    pub fn record_success(&mut self, now: BootTime) {
        if let Some(began) = self.began.take() {
            self.ended.push_back((began, now));
        }
        let window_start = now.saturating_sub(nanoseconds(OUTAGE_WINDOW));
        while self
            .ended
            .front()
            .is_some_and(|(_, ended)| *ended < window_start)
        {
            self.ended.pop_front();
        }
        self.last_available = Some(now);
    }

    /// Records that Redis was unavailable at `now`. The outage began when Redis was last available,
    /// but at most five seconds ago: a process that was paused observed nothing.
    pub fn record_failure(&mut self, now: BootTime) {
        let earliest = now.saturating_sub(nanoseconds(MAX_DETECTION_TIME));
        let began = self.last_available.unwrap_or(now).max(earliest);
        self.began.get_or_insert(began);
    }

    /// Returns the outages within [`OUTAGE_WINDOW`] before `now`, oldest first.
    pub fn recent(&self, now: BootTime) -> Vec<Outage> {
        let start = now.saturating_sub(nanoseconds(OUTAGE_WINDOW));
        let current = self.began.map(|began| (began, now));
        let age = |time: BootTime| Duration::from_nanos(now.saturating_sub(time));
        self.ended
            .iter()
            .copied()
            .chain(current)
            .filter(|(_, ended)| *ended > start)
            .map(|(began, ended)| Outage {
                began_ago: age(began.max(start)),
                ended_ago: age(ended.min(now)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: BootTime = 1_000_000_000;

    /// The begin and the end of each outage, in seconds before `now`.
    fn recent(outages: &Outages, now: u64) -> Vec<(u64, u64)> {
        let seconds = |outage: &Outage| (outage.began_ago.as_secs(), outage.ended_ago.as_secs());
        outages.recent(now * SECOND).iter().map(seconds).collect()
    }

    #[test]
    fn outage_counts_from_last_success_within_window() {
        let mut outages = Outages::default();
        outages.record_success(100 * SECOND);
        outages.record_failure(103 * SECOND);
        assert_eq!(recent(&outages, 105), [(5, 0)], "the outage continues");
        outages.record_success(112 * SECOND);
        assert_eq!(recent(&outages, 113), [(13, 1)]);
        assert_eq!(recent(&outages, 226), [(120, 114)], "half of it is too old");
        assert_eq!(recent(&outages, 233), []);
        outages.record_success(300 * SECOND);
        assert!(outages.ended.is_empty(), "memory is bounded");
    }

    #[test]
    fn pause_of_the_process_is_no_outage() {
        let mut outages = Outages::default();
        outages.record_success(100 * SECOND);
        outages.record_failure(160 * SECOND);
        outages.record_success(161 * SECOND);
        assert_eq!(recent(&outages, 161), [(6, 0)]);
    }

    #[test]
    fn start_without_redis_is_an_outage_from_the_first_failure() {
        let mut outages = Outages::default();
        outages.record_failure(7 * SECOND);
        outages.record_failure(9 * SECOND);
        assert_eq!(recent(&outages, 10), [(3, 0)]);
    }

    proptest! {
        #[test]
        fn outages_are_within_window_and_do_not_overlap(
            steps in proptest::collection::vec((1u64..200, any::<bool>()), 0..40),
        ) {
            let (mut outages, mut now) = (Outages::default(), 1_000);
            for (seconds, is_available) in steps {
                now += seconds;
                match is_available {
                    true => outages.record_success(now * SECOND),
                    false => outages.record_failure(now * SECOND),
                }
                let recent = outages.recent(now * SECOND);
                let ages: Vec<_> = recent
                    .iter()
                    .flat_map(|outage| [outage.began_ago, outage.ended_ago])
                    .collect();
                prop_assert!(ages.is_sorted_by(|one, other| one >= other), "{ages:?}");
                prop_assert!(ages.iter().all(|age| *age <= OUTAGE_WINDOW), "{ages:?}");
            }
        }
    }
}
