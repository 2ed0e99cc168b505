//! The local buckets: rate limit counters of one replica, used while Redis is unavailable.

use std::collections::HashMap;

use super::{Bucket, BucketId, BucketLevels};

/// Maximum number of buckets. They use about 10 MB.
const MAX_BUCKETS: usize = 100_000;

/// The time at which each bucket is empty, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub struct LocalBuckets(HashMap<BucketId, u64>);

impl LocalBuckets {
    /// Counts one attempt in all buckets, or in none if a bucket is full.
    ///
    /// `now` is in microseconds since the Unix epoch.
    pub fn reserve(&mut self, buckets: &[Bucket], now: u64) -> BucketLevels {
        let levels: Vec<u64> = buckets
            .iter()
            .map(|bucket| self.level(bucket, now))
            .collect();
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
        self.evict(now);
        self.0.extend(
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

    /// Removes a counted attempt from the buckets. Returns their levels after that, in µs.
    ///
    /// `now` is in microseconds since the Unix epoch.
    pub fn refund(&mut self, buckets: &[Bucket], now: u64) -> Vec<u64> {
        let mut refund = |Bucket { id, limit }: &Bucket| {
            let Some(empty_at) = self.0.get_mut(id) else {
                return 0;
            };
            let level = limit.after_refund(limit.level(*empty_at, now));
            *empty_at = now + level;
            level
        };
        buckets.iter().map(&mut refund).collect()
    }

    fn level(&self, Bucket { id, limit }: &Bucket, now: u64) -> u64 {
        limit.level(self.0.get(id).copied().unwrap_or_default(), now)
    }

    /// If the map is full, removes the empty buckets, and the emptier half if too many are left.
    ///
    /// An attacker with more than 100,000 networks can evict buckets, but the fullest ones are
    /// kept.
    fn evict(&mut self, now: u64) {
        if self.0.len() < MAX_BUCKETS {
            return;
        }
        self.0.retain(|_, empty_at| *empty_at > now);
        if self.0.len() > MAX_BUCKETS / 2 {
            let mut times: Vec<u64> = self.0.values().copied().collect();
            let (_, median, _) = times.select_nth_unstable(self.0.len() / 2);
            self.0.retain(|_, empty_at| *empty_at > *median);
        }
    }
}

#[cfg(test)]
#[path = "local_buckets_tests.rs"]
mod tests;
