//! Rate limits with the generic cell rate algorithm (GCRA).
//!
//! A limit allows a burst of attempts, and the same number again in each period, evenly
//! distributed. A bucket stores one number, its level: the time until it is empty. Each attempt
//! raises the level by the interval. An attempt that would raise it above the capacity is not
//! counted, but rejected or delayed. A client therefore gets at most twice the burst in one period.
//!
//! The Redis script `rate_limit.lua` has the same arithmetic, for buckets that all replicas share.
//! [`local_buckets`] are those of one replica. [`attempt`] decides whether a request proceeds.
//! Times are in microseconds, because an interval is a fraction of a period.

pub mod attempt;
pub mod local_buckets;

use std::time::Duration;

use uuid::Uuid;

use crate::master_secret::{MacKey, MasterSecrets};

/// Microseconds per second.
pub const MICROS_PER_SECOND: u64 = 1_000_000;

/// Maximum delay of an attempt that must not be rejected.
///
/// It is acceptable for the user of an attacked account, and below the timeouts of clients and
/// proxies.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Number of replicas that together stay within a limit while each replica counts alone.
///
/// Replicas count alone while Redis is unavailable.
const ASSUMED_REPLICAS: u32 = 4;

/// Maximum burst, practically no limit. The interval is still at least 1 µs.
const MAX_BURST: u32 = 1_000_000;

/// Maximum period. Attempts are forgotten after it.
const MAX_PERIOD: Duration = Duration::from_secs(86_400);

/// A number of attempts per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    burst: u32,
    period: Duration,
}

impl RateLimit {
    /// Creates a rate limit of 1 to 1,000,000 attempts per period of 1 second to 1 day.
    ///
    /// Returns `None` if a value is out of range.
    pub fn new(burst: u32, period: Duration) -> Option<RateLimit> {
        let is_valid = (1..=MAX_BURST).contains(&burst)
            && (Duration::from_secs(1)..=MAX_PERIOD).contains(&period);
        is_valid.then_some(RateLimit { burst, period })
    }

    /// Returns the number of attempts that are allowed at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// Returns the time in which an empty quota is refilled.
    pub fn period(self) -> Duration {
        self.period
    }

    /// Returns the limit of a replica that counts alone: a quarter of the burst.
    ///
    /// Four replicas then together allow about as many attempts as with shared buckets.
    #[must_use]
    pub fn stricter(self) -> RateLimit {
        RateLimit {
            burst: self.burst.div_ceil(ASSUMED_REPLICAS),
            period: self.period,
        }
    }

    /// Returns the time in µs that one attempt adds to the level.
    pub fn interval(self) -> u64 {
        micros(self.period) / u64::from(self.burst)
    }

    /// Returns the maximum level, in µs.
    pub fn capacity(self) -> u64 {
        self.interval() * u64::from(self.burst)
    }

    /// Returns the level at `now` of a bucket that is empty at `empty_at`, all in µs.
    ///
    /// A bucket that was filled under a higher limit counts as full, not as more than full.
    pub fn level(self, empty_at: u64, now: u64) -> u64 {
        empty_at.saturating_sub(now).min(self.capacity())
    }

    /// Returns the level after one more attempt, or `None` if the attempt is not allowed.
    pub fn after_attempt(self, level: u64) -> Option<u64> {
        let after = level + self.interval();
        (after <= self.capacity()).then_some(after)
    }

    /// Returns the level after an attempt is refunded.
    pub fn after_refund(self, level: u64) -> u64 {
        level.saturating_sub(self.interval())
    }

    /// Returns the number of attempts that are allowed now.
    pub fn remaining(self, level: u64) -> u64 {
        self.capacity().saturating_sub(level) / self.interval()
    }

    /// Returns the time in µs until another attempt is allowed.
    pub fn retry_after(self, level: u64) -> u64 {
        (level + self.interval()).saturating_sub(self.capacity())
    }

    /// Returns the delay of an attempt that exceeds the limit but must not be rejected.
    pub fn delay(self, level: u64) -> Duration {
        Duration::from_micros(self.retry_after(level)).min(MAX_DELAY)
    }
}

/// The ID of a bucket: the limit, and hashes of what it applies to ([`RateLimitKey`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketId {
    /// The name of the limit.
    pub name: &'static str,
    /// Hash of the network, of the entered name or user ID, or of the recipient. The buckets of one
    /// reservation have the same owner, because their keys share a hash tag.
    pub owner: Uuid,
    /// Hash of the entered name, or of the ID of a signed-in user, if the limit applies per network
    /// and account.
    pub account: Option<Uuid>,
}

/// A bucket with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The ID of the bucket.
    pub id: BucketId,
    /// The limit of the bucket.
    pub limit: RateLimit,
}

/// The result of counting one attempt in several buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLevels {
    /// Whether all buckets allow the attempt. Otherwise, no bucket has counted it.
    pub allowed: bool,
    /// The current level of each bucket, in µs.
    pub levels: Vec<u64>,
}

/// Derives IDs from names and networks, so that the keys in Redis do not contain them.
pub struct RateLimitKey(MacKey);

impl RateLimitKey {
    /// Derives the key from the first master secret.
    ///
    /// After a rotation of the secret, or while replicas have the secrets in different orders, new
    /// buckets start empty. An attacker then gets at most twice the attempts once.
    pub fn new(secrets: &MasterSecrets) -> RateLimitKey {
        RateLimitKey(secrets.first().mac_key("latchkey rate limits"))
    }

    /// Returns the ID of a network, username, or email address, without regard to case.
    pub fn id(&self, subject: &str) -> Uuid {
        let mac = self.0.sign(&[subject.to_ascii_lowercase().as_bytes()]);
        Uuid::from_slice(&mac[..16]).expect("a UUID of 16 bytes")
    }
}

/// Converts a duration to microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = RateLimit> {
        (1..50u32, 1..100u64).prop_map(|(burst, seconds)| {
            RateLimit::new(burst, Duration::from_secs(seconds)).expect("a valid limit")
        })
    }

    /// Makes an attempt after each pause. Returns the times of the allowed attempts.
    fn allowed_times(limit: RateLimit, pauses: &[u64]) -> Vec<u64> {
        let (mut now, mut empty_at) = (1_000_000, 0);
        let mut times = Vec::new();
        for pause in pauses {
            now += pause;
            if let Some(after) = limit.after_attempt(limit.level(empty_at, now)) {
                empty_at = now + after;
                times.push(now);
            }
        }
        times
    }

    proptest! {
        #[test]
        fn any_interval_allows_at_most_burst_plus_refill(
            limit in limits(),
            pauses in prop::collection::vec(0..5_000_000u64, 1..300),
        ) {
            let times = allowed_times(limit, &pauses);
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let max = u64::from(limit.burst()) + (end - start) / limit.interval();
                    prop_assert!((last - first + 1) as u64 <= max);
                }
            }
        }

        #[test]
        fn attempts_at_the_interval_are_always_allowed(limit in limits(), count in 1..200usize) {
            let pauses = vec![limit.interval(); count];
            prop_assert_eq!(allowed_times(limit, &pauses).len(), count);
        }

        #[test]
        fn remaining_and_retry_after_match_behavior(limit in limits(), level in 0..100_000_000u64) {
            let level = level.min(limit.capacity());
            let mut after = level;
            for _ in 0..limit.remaining(level) {
                after = limit.after_attempt(after).expect("a remaining attempt");
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
        fn refund_reverts_exactly_one_attempt(limit in limits(), level in 0..100_000_000u64) {
            if let Some(after) = limit.after_attempt(level) {
                prop_assert_eq!(limit.after_refund(after), level);
            }
        }

        #[test]
        fn stricter_limits_of_four_replicas_are_about_one_limit(burst in 1..MAX_BURST) {
            let limit = RateLimit::new(burst, Duration::from_secs(60)).expect("a valid limit");
            let allowed_by_one = limit.stricter().burst();
            let allowed_by_all = allowed_by_one * ASSUMED_REPLICAS;
            prop_assert!(allowed_by_one >= 1 && allowed_by_all < burst + ASSUMED_REPLICAS);
        }
    }

    #[test]
    fn limit_out_of_range_is_rejected() {
        for (burst, seconds) in [(0, 60), (MAX_BURST + 1, 60), (5, 0), (5, 86_401)] {
            assert_eq!(
                RateLimit::new(burst, Duration::from_secs(seconds)),
                None,
                "{burst}/{seconds}s"
            );
        }
    }

    #[test]
    fn level_is_capped_after_limit_is_lowered() {
        let limit = RateLimit::new(5, Duration::from_secs(60)).unwrap();
        assert_eq!(limit.level(86_400_000_000, 0), 60_000_000);
    }
}
