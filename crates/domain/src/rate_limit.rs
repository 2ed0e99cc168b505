//! Limits on how often something may be tried: so many at once, and as many again in each period,
//! evenly spread (the generic cell rate algorithm).
//!
//! A bucket holds one number, its *level*: the time until it is empty again. Every try raises it by
//! the interval, and one that would raise it above the capacity is not counted, but refused or made
//! to wait. So nobody ever gets more than twice the burst in one period, and nothing has to be
//! counted or swept. `redis/rate_limit.lua` is the same arithmetic, where replicas share the
//! buckets. Times are microseconds: an interval is a fraction of a period.

use std::time::Duration;

use uuid::Uuid;

use crate::master_secret::{MacKey, MasterSecrets};

/// The longest that somebody waits who is not to be refused: an owner bears it, and it is far below
/// the timeouts of clients and proxies.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// How many replicas together stay within a limit when each counts for itself, because Redis does
/// not answer.
const ASSUMED_REPLICAS: u32 = 4;

/// The most tries of a limit: enough to be none, and few enough for an interval of microseconds.
const MAX_BURST: u32 = 1_000_000;

/// The longest period: what is counted is forgotten after it.
const MAX_PERIOD: Duration = Duration::from_secs(86_400);

/// So many tries in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    burst: u32,
    period: Duration,
}

impl Limit {
    /// A limit, where the numbers make sense: at least one try, and a period from a second to a
    /// day.
    pub fn new(burst: u32, period: Duration) -> Option<Limit> {
        let sane = (1..=MAX_BURST).contains(&burst)
            && (Duration::from_secs(1)..=MAX_PERIOD).contains(&period);
        sane.then_some(Limit { burst, period })
    }

    /// How many may be tried at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// The time in which as many may be tried again.
    pub fn period(self) -> Duration {
        self.period
    }

    /// What one replica allows that counts for itself: a quarter, so that four of them allow what
    /// all did together.
    #[must_use]
    pub fn stricter(self) -> Limit {
        Limit {
            burst: self.burst.div_ceil(ASSUMED_REPLICAS),
            period: self.period,
        }
    }

    /// What one try adds to the level.
    pub fn interval(self) -> u64 {
        micros(self.period) / u64::from(self.burst)
    }

    /// The level that no try may exceed.
    pub fn capacity(self) -> u64 {
        self.interval() * u64::from(self.burst)
    }

    /// The level at a moment, of a bucket that will be empty at another. What was stored under a
    /// larger limit counts as full, not as more.
    pub fn level(self, empty_at: u64, now: u64) -> u64 {
        empty_at.saturating_sub(now).min(self.capacity())
    }

    /// The level after one more try, if that is allowed.
    pub fn after_attempt(self, level: u64) -> Option<u64> {
        let after = level + self.interval();
        (after <= self.capacity()).then_some(after)
    }

    /// The level when a try is not to count after all.
    pub fn after_refund(self, level: u64) -> u64 {
        level.saturating_sub(self.interval())
    }

    /// How many more may be tried at this moment.
    pub fn remaining(self, level: u64) -> u64 {
        self.capacity().saturating_sub(level) / self.interval()
    }

    /// The time until one more may be tried.
    pub fn retry_after(self, level: u64) -> u64 {
        (level + self.interval()).saturating_sub(self.capacity())
    }

    /// How long a try waits that is beyond the limit, but must not be refused.
    pub fn delay(self, level: u64) -> Duration {
        Duration::from_micros(self.retry_after(level)).min(MAX_DELAY)
    }
}

/// Which bucket it is: what it limits, and for whom. Networks and accounts are ids or
/// [`RateLimitKey`] hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketId {
    /// What is limited.
    pub name: &'static str,
    /// For whom. What is to be decided together has the same owner.
    pub owner: Uuid,
    /// For which account, where the owner is a network.
    pub account: Option<Uuid>,
}

/// A bucket, and how much goes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Which it is.
    pub id: BucketId,
    /// How much goes into it.
    pub limit: Limit,
}

/// What became of a try that was counted in several buckets at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLevels {
    /// Whether all of them allow it; if not, none has counted it.
    pub allowed: bool,
    /// The level of each now.
    pub levels: Vec<u64>,
}

/// Makes ids of names and networks, so that no key tells them.
pub struct RateLimitKey(MacKey);

impl RateLimitKey {
    /// The key under the first secret. The second is of no use: where replicas have them in another
    /// order, or the first is another than yesterday, buckets begin anew, and a guesser has at most
    /// twice the tries for once.
    pub fn new(secrets: &MasterSecrets) -> RateLimitKey {
        RateLimitKey(secrets.first().mac_key("latchkey throttles"))
    }

    /// The id of a network, or of what was typed as a name or an address: the same for all ways to
    /// write it.
    pub fn id(&self, subject: &str) -> Uuid {
        let mac = self.0.sign(&[subject.to_ascii_lowercase().as_bytes()]);
        Uuid::from_slice(&mac[..16]).expect("16 bytes are a uuid")
    }
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limit> {
        (1..50u32, 1..100u64).prop_map(|(burst, seconds)| {
            Limit::new(burst, Duration::from_secs(seconds)).expect("sane")
        })
    }

    /// Tries after these pauses; the moments of those that were allowed.
    fn allowed(limit: Limit, pauses: &[u64]) -> Vec<u64> {
        let (mut now, mut empty_at) = (1_000_000, 0);
        let mut moments = Vec::new();
        for pause in pauses {
            now += pause;
            if let Some(after) = limit.after_attempt(limit.level(empty_at, now)) {
                empty_at = now + after;
                moments.push(now);
            }
        }
        moments
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_the_burst_and_what_was_refilled(
            limit in limits(),
            pauses in prop::collection::vec(0..5_000_000u64, 1..300),
        ) {
            let moments = allowed(limit, &pauses);
            for (first, begin) in moments.iter().enumerate() {
                for (last, end) in moments.iter().enumerate().skip(first) {
                    let most = u64::from(limit.burst()) + (end - begin) / limit.interval();
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn whoever_keeps_to_the_interval_is_never_refused(limit in limits(), count in 1..200usize) {
            let pauses = vec![limit.interval(); count];
            prop_assert_eq!(allowed(limit, &pauses).len(), count);
        }

        #[test]
        fn what_is_told_is_what_happens(limit in limits(), level in 0..100_000_000u64) {
            let level = level.min(limit.capacity());
            let mut after = level;
            for _ in 0..limit.remaining(level) {
                after = limit.after_attempt(after).expect("it was told to remain");
            }
            prop_assert_eq!(limit.after_attempt(after), None);
            let wait = limit.retry_after(after);
            prop_assert!(
                wait > 0
                    && limit.delay(after) > Duration::ZERO
                    && limit.delay(after) <= MAX_DELAY
            );
            prop_assert!(limit.after_attempt(after.saturating_sub(wait)).is_some());
            prop_assert!(limit.after_attempt(after.saturating_sub(wait - 1)).is_none());
        }

        #[test]
        fn a_refund_gives_back_exactly_one_try(limit in limits(), level in 0..100_000_000u64) {
            if let Some(after) = limit.after_attempt(level) {
                prop_assert_eq!(limit.after_refund(after), level);
            }
        }

        #[test]
        fn four_replicas_on_their_own_allow_hardly_more_than_one_limit(burst in 1..MAX_BURST) {
            let limit = Limit::new(burst, Duration::from_secs(60)).expect("sane").stricter();
            prop_assert!(limit.burst() >= 1 && limit.burst() * ASSUMED_REPLICAS < burst + ASSUMED_REPLICAS);
        }
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_none() {
        for (burst, seconds) in [(0, 60), (MAX_BURST + 1, 60), (5, 0), (5, 86_401)] {
            assert_eq!(
                Limit::new(burst, Duration::from_secs(seconds)),
                None,
                "{burst}/{seconds}s"
            );
        }
    }

    #[test]
    fn a_lowered_limit_does_not_lock_out_for_what_a_larger_one_stored() {
        let limit = Limit::new(5, Duration::from_secs(60)).unwrap();
        assert_eq!(limit.level(86_400_000_000, 0), 60_000_000);
    }
}
