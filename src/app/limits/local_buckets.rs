//! The local buckets: rate limit counters of one replica, used while Redis is unavailable.

use std::{collections::HashMap, sync::Mutex};

use latchkey_domain::rate_limit::{Bucket, BucketId, BucketLevels};

/// The largest number of buckets. They use about 10 MB.
const MAX_BUCKETS: usize = 100_000;

/// The time at which each bucket is empty, in microseconds since the epoch.
#[derive(Default)]
pub struct LocalBuckets(Mutex<HashMap<BucketId, u64>>);

impl LocalBuckets {
    /// Counts one attempt in all buckets, or in none if a bucket is full. `now` is in microseconds
    /// since the epoch.
    pub fn reserve(&self, buckets: &[Bucket], now: u64) -> BucketLevels {
        let mut empty_times = self.0.lock().expect("no holder panics");
        let level = |Bucket { id, limit }: &Bucket| {
            limit.level(empty_times.get(id).copied().unwrap_or_default(), now)
        };
        let levels: Vec<u64> = buckets.iter().map(level).collect();
        let after = buckets
            .iter()
            .zip(&levels)
            .map(|(bucket, level)| bucket.limit.after_attempt(*level));
        let Some(after) = after.collect::<Option<Vec<u64>>>() else {
            return BucketLevels {
                allowed: false,
                levels,
            };
        };
        evict_buckets(&mut empty_times, now);
        empty_times.extend(
            buckets
                .iter()
                .zip(&after)
                .map(|(bucket, level)| (bucket.id, now + level)),
        );
        BucketLevels {
            allowed: true,
            levels: after,
        }
    }

    /// Removes a counted attempt from the buckets. Returns their levels after that.
    pub fn refund(&self, buckets: &[Bucket], now: u64) -> Vec<u64> {
        let mut empty_times = self.0.lock().expect("no holder panics");
        let mut refund = |Bucket { id, limit }: &Bucket| {
            let Some(empty_at) = empty_times.get_mut(id) else {
                return 0;
            };
            let level = limit.after_refund(limit.level(*empty_at, now));
            *empty_at = now + level;
            level
        };
        buckets.iter().map(&mut refund).collect()
    }
}

/// If the map is full, removes the empty buckets, and the emptier half if too many are left.
///
/// An attacker with more than 100,000 networks can evict buckets, but the fullest ones are kept.
fn evict_buckets(empty_times: &mut HashMap<BucketId, u64>, now: u64) {
    if empty_times.len() < MAX_BUCKETS {
        return;
    }
    empty_times.retain(|_, empty_at| *empty_at > now);
    if empty_times.len() > MAX_BUCKETS / 2 {
        let mut times: Vec<u64> = empty_times.values().copied().collect();
        let (_, median, _) = times.select_nth_unstable(empty_times.len() / 2);
        empty_times.retain(|_, empty_at| *empty_at > *median);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use latchkey_domain::rate_limit::RateLimit;

    const MICROS_PER_SECOND: u64 = 1_000_000;

    fn bucket(owner: u128, burst: u32) -> Bucket {
        let limit = RateLimit::new(burst, Duration::from_secs(60)).unwrap();
        let id = BucketId {
            name: "sign_in",
            owner: Uuid::from_u128(owner),
            account: None,
        };
        Bucket { id, limit }
    }

    #[test]
    fn full_bucket_prevents_counting_in_all_buckets() {
        let buckets = LocalBuckets::default();
        let (narrow, wide) = (bucket(1, 1), bucket(2, 3));
        assert!(buckets.reserve(&[narrow, wide], MICROS_PER_SECOND).allowed);
        for _ in 0..5 {
            let rejected = buckets.reserve(&[narrow, wide], MICROS_PER_SECOND);
            assert_eq!(
                (rejected.allowed, rejected.levels),
                (false, vec![60 * MICROS_PER_SECOND, 20 * MICROS_PER_SECOND])
            );
        }
        assert!(buckets.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(buckets.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(!buckets.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(
            buckets
                .reserve(&[narrow, wide], 61 * MICROS_PER_SECOND)
                .allowed,
            "buckets empty over time"
        );
    }

    #[test]
    fn refund_allows_one_more_attempt() {
        let buckets = LocalBuckets::default();
        let bucket = bucket(1, 1);
        assert!(buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
        assert_eq!(buckets.refund(&[bucket], MICROS_PER_SECOND), [0]);
        assert!(buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
        assert!(!buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
    }

    #[test]
    fn full_map_evicts_emptiest_buckets() {
        let buckets = LocalBuckets::default();
        let full_bucket = bucket(u128::MAX, 3);
        for _ in 0..3 {
            assert!(buckets.reserve(&[full_bucket], MICROS_PER_SECOND).allowed);
        }
        for owner in 0..3 * MAX_BUCKETS as u128 {
            buckets.reserve(&[bucket(owner, 3)], MICROS_PER_SECOND);
            assert!(buckets.0.lock().unwrap().len() <= MAX_BUCKETS);
        }
        assert!(!buckets.reserve(&[full_bucket], MICROS_PER_SECOND).allowed);
    }
}
