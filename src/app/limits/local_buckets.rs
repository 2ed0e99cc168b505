//! The buckets of one replica, for as long as Redis does not answer.

use std::{collections::HashMap, sync::Mutex};

use latchkey_domain::rate_limit::{Bucket, BucketId, BucketLevels};

/// Buckets that are kept: some ten megabytes.
const MAX_BUCKETS: usize = 100_000;

/// When each bucket will be empty, in microseconds since the epoch.
#[derive(Default)]
pub struct LocalBuckets(Mutex<HashMap<BucketId, u64>>);

impl LocalBuckets {
    /// Counts one try in several buckets, in all or in none; `now` is in microseconds since the
    /// epoch.
    pub fn reserve(&self, buckets: &[Bucket], now: u64) -> BucketLevels {
        let mut known = self.0.lock().expect("nothing panics while it is held");
        let level = |Bucket { id, limit }: &Bucket| {
            limit.level(known.get(id).copied().unwrap_or_default(), now)
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
        make_room(&mut known, now);
        known.extend(
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

    /// Takes a try back that was counted; the levels afterwards.
    pub fn refund(&self, buckets: &[Bucket], now: u64) -> Vec<u64> {
        let mut known = self.0.lock().expect("nothing panics while it is held");
        let mut refund = |Bucket { id, limit }: &Bucket| {
            let Some(empty_at) = known.get_mut(id) else {
                return 0;
            };
            let level = limit.after_refund(limit.level(*empty_at, now));
            *empty_at = now + level;
            level
        };
        buckets.iter().map(&mut refund).collect()
    }
}

/// Forgets what is empty; if that is too little, the half that is nearest to it: whoever comes from
/// a hundred thousand networks at once is not stopped here.
fn make_room(known: &mut HashMap<BucketId, u64>, now: u64) {
    if known.len() < MAX_BUCKETS {
        return;
    }
    known.retain(|_, empty_at| *empty_at > now);
    if known.len() > MAX_BUCKETS / 2 {
        let mut moments: Vec<u64> = known.values().copied().collect();
        let (_, middle, _) = moments.select_nth_unstable(known.len() / 2);
        known.retain(|_, empty_at| *empty_at > *middle);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use latchkey_domain::rate_limit::Limit;

    const MICROS_PER_SECOND: u64 = 1_000_000;

    fn bucket(owner: u128, burst: u32) -> Bucket {
        let limit = Limit::new(burst, Duration::from_secs(60)).unwrap();
        let id = BucketId {
            name: "sign_in",
            owner: Uuid::from_u128(owner),
            account: None,
        };
        Bucket { id, limit }
    }

    #[test]
    fn all_buckets_count_a_try_or_none_does() {
        let memory = LocalBuckets::default();
        let (narrow, wide) = (bucket(1, 1), bucket(2, 3));
        assert!(memory.reserve(&[narrow, wide], MICROS_PER_SECOND).allowed);
        for _ in 0..5 {
            let refused = memory.reserve(&[narrow, wide], MICROS_PER_SECOND);
            assert_eq!(
                (refused.allowed, refused.levels),
                (false, vec![60 * MICROS_PER_SECOND, 20 * MICROS_PER_SECOND])
            );
        }
        assert!(memory.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(memory.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(!memory.reserve(&[wide], MICROS_PER_SECOND).allowed);
        assert!(
            memory
                .reserve(&[narrow, wide], 61 * MICROS_PER_SECOND)
                .allowed,
            "time empties them"
        );
    }

    #[test]
    fn a_refund_lets_one_more_try() {
        let memory = LocalBuckets::default();
        let bucket = bucket(1, 1);
        assert!(memory.reserve(&[bucket], MICROS_PER_SECOND).allowed);
        assert_eq!(memory.refund(&[bucket], MICROS_PER_SECOND), [0]);
        assert!(memory.reserve(&[bucket], MICROS_PER_SECOND).allowed);
        assert!(!memory.reserve(&[bucket], MICROS_PER_SECOND).allowed);
    }

    #[test]
    fn it_does_not_grow_without_end_and_keeps_the_fullest() {
        let memory = LocalBuckets::default();
        let guesser = bucket(u128::MAX, 3);
        for _ in 0..3 {
            assert!(memory.reserve(&[guesser], MICROS_PER_SECOND).allowed);
        }
        for owner in 0..3 * MAX_BUCKETS as u128 {
            memory.reserve(&[bucket(owner, 3)], MICROS_PER_SECOND);
            assert!(memory.0.lock().unwrap().len() <= MAX_BUCKETS);
        }
        assert!(!memory.reserve(&[guesser], MICROS_PER_SECOND).allowed);
    }
}
