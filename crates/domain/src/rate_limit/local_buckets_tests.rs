use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::rate_limit::{MICROS_PER_SECOND, RateLimit};

/// Interval of each limit, in seconds.
const INTERVAL_SECONDS: u64 = 10;

fn bucket(owner: u128, burst: u32) -> Bucket {
    let period = Duration::from_secs(INTERVAL_SECONDS * u64::from(burst));
    let id = BucketId {
        name: "sign_in",
        owner: Uuid::from_u128(owner),
        account: None,
    };
    let limit = RateLimit::new(burst, period).unwrap();
    Bucket { id, limit }
}

fn levels_of(buckets: &LocalBuckets, all: &[Bucket], now: u64) -> Vec<u64> {
    all.iter()
        .map(|bucket| buckets.level(bucket, now))
        .collect()
}

#[test]
fn full_bucket_prevents_counting_in_all_buckets() {
    let mut buckets = LocalBuckets::default();
    let (narrow, wide) = (bucket(1, 1), bucket(2, 3));
    let now = MICROS_PER_SECOND;
    let interval = INTERVAL_SECONDS * MICROS_PER_SECOND;
    assert!(buckets.reserve(&[narrow, wide], now).allowed);
    for _ in 0..5 {
        let rejected = buckets.reserve(&[narrow, wide], now);
        assert_eq!(
            (rejected.allowed, rejected.levels),
            (false, vec![interval, interval])
        );
    }
    assert!(buckets.reserve(&[wide], now).allowed);
    assert!(buckets.reserve(&[wide], now).allowed);
    assert!(!buckets.reserve(&[wide], now).allowed);
    assert!(
        !buckets.reserve(&[narrow, wide], now + interval - 1).allowed,
        "a microsecond early"
    );
    assert!(
        buckets.reserve(&[narrow, wide], now + interval).allowed,
        "buckets empty over time"
    );
}

#[test]
fn refund_allows_one_more_attempt() {
    let mut buckets = LocalBuckets::default();
    let bucket = bucket(1, 1);
    assert!(buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
    assert_eq!(buckets.refund(&[bucket], MICROS_PER_SECOND), [0]);
    assert!(buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
    assert!(!buckets.reserve(&[bucket], MICROS_PER_SECOND).allowed);
}

#[test]
fn full_map_evicts_emptiest_buckets() {
    let mut buckets = LocalBuckets::default();
    let full_bucket = bucket(u128::MAX, 3);
    for _ in 0..3 {
        assert!(buckets.reserve(&[full_bucket], MICROS_PER_SECOND).allowed);
    }
    for owner in 0..3 * MAX_BUCKETS as u128 {
        buckets.reserve(&[bucket(owner, 3)], MICROS_PER_SECOND);
        assert!(buckets.0.len() <= MAX_BUCKETS);
    }
    assert!(!buckets.reserve(&[full_bucket], MICROS_PER_SECOND).allowed);
}

/// Three buckets with bursts of 1, 2, and 3 attempts.
fn all_buckets() -> [Bucket; 3] {
    [bucket(1, 1), bucket(2, 2), bucket(3, 3)]
}

/// An operation on some of the buckets.
#[derive(Debug, Clone)]
enum Operation {
    /// Counts an attempt in the selected buckets.
    Reserve([bool; 3]),
    /// Refunds the n-th of the counted attempts, unless none is left.
    Refund(prop::sample::Index),
}

/// Operations, each with the pause before it in µs.
fn histories() -> impl Strategy<Value = Vec<(Operation, u64)>> {
    let operation = prop_oneof![
        3 => any::<[bool; 3]>().prop_map(Operation::Reserve),
        1 => any::<prop::sample::Index>().prop_map(Operation::Refund),
    ];
    let pause = prop_oneof![Just(0), 0..5_000_000u64, 0..40_000_000u64];
    prop::collection::vec((operation, pause), 1..80)
}

/// Returns the selected buckets.
fn choose(all: &[Bucket; 3], selected: [bool; 3]) -> Vec<Bucket> {
    all.iter()
        .zip(selected)
        .filter_map(|(bucket, is_selected)| is_selected.then_some(*bucket))
        .collect()
}

/// The counted attempts (+1) and refunds (-1) of one bucket, each with its time in µs.
type Changes = Vec<(u64, i64)>;

/// Asserts that no interval between two changes contains more attempts than allowed.
fn check_quota(bucket: &Bucket, changes: &Changes) -> Result<(), TestCaseError> {
    for (first, (start, _)) in changes.iter().enumerate() {
        let mut count = 0;
        for (end, change) in &changes[first..] {
            count += change;
            let refill = (end - start) / bucket.limit.interval();
            let max = i64::from(bucket.limit.burst()) + i64::try_from(refill).unwrap();
            prop_assert!(count <= max, "{count} attempts in {} µs", end - start);
        }
    }
    Ok(())
}

proptest! {
    /// A refund returns one attempt to the quota, so it counts as a negative attempt.
    #[test]
    fn any_interval_allows_at_most_burst_refill_and_refunds(history in histories()) {
        let (all, mut buckets) = (all_buckets(), LocalBuckets::default());
        let mut counted: Vec<Vec<usize>> = Vec::new();
        let mut changes = [const { Changes::new() }; 3];
        let mut now = MICROS_PER_SECOND;
        for (operation, pause) in history {
            now += pause;
            match operation {
                Operation::Reserve(selected) => {
                    let indexes: Vec<usize> = (0..3).filter(|index| selected[*index]).collect();
                    let chosen: Vec<Bucket> = indexes.iter().map(|index| all[*index]).collect();
                    if buckets.reserve(&chosen, now).allowed {
                        indexes.iter().for_each(|index| changes[*index].push((now, 1)));
                        counted.push(indexes);
                    }
                }
                Operation::Refund(index) if !counted.is_empty() => {
                    let indexes = counted.swap_remove(index.index(counted.len()));
                    let chosen: Vec<Bucket> = indexes.iter().map(|index| all[*index]).collect();
                    buckets.refund(&chosen, now);
                    indexes.iter().for_each(|index| changes[*index].push((now, -1)));
                }
                Operation::Refund(_) => {}
            }
        }
        for (bucket, changes) in all.iter().zip(&changes) {
            check_quota(bucket, changes)?;
        }
    }

    #[test]
    fn attempt_counts_in_all_buckets_or_in_none(history in histories()) {
        let (all, mut buckets) = (all_buckets(), LocalBuckets::default());
        let mut now = MICROS_PER_SECOND;
        for (operation, pause) in history {
            now += pause;
            let Operation::Reserve(selected) = operation else { continue };
            let before = levels_of(&buckets, &all, now);
            let chosen = choose(&all, selected);
            let reserved = buckets.reserve(&chosen, now);
            let added = levels_of(&buckets, &all, now)
                .iter()
                .zip(&before)
                .map(|(after, before)| after - before)
                .collect::<Vec<u64>>();
            let expected: Vec<u64> = (0..3)
                .map(|index| match reserved.allowed && selected[index] {
                    true => all[index].limit.interval(),
                    false => 0,
                })
                .collect();
            prop_assert_eq!(added, expected);
            prop_assert_eq!(reserved.levels, levels_of(&buckets, &chosen, now));
        }
    }

    #[test]
    fn refund_lowers_the_level_by_at_most_one_attempt(history in histories()) {
        let (all, mut buckets) = (all_buckets(), LocalBuckets::default());
        let mut now = MICROS_PER_SECOND;
        for (operation, pause) in history {
            now += pause;
            match operation {
                Operation::Reserve(selected) => {
                    buckets.reserve(&choose(&all, selected), now);
                }
                Operation::Refund(_) => {
                    let before = levels_of(&buckets, &all, now);
                    let after = buckets.refund(&all, now);
                    prop_assert_eq!(&after, &levels_of(&buckets, &all, now));
                    for (bucket, (before, after)) in all.iter().zip(before.into_iter().zip(after)) {
                        prop_assert_eq!(after, before.saturating_sub(bucket.limit.interval()));
                    }
                }
            }
        }
    }
}
