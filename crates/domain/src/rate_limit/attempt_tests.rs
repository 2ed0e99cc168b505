use proptest::prelude::*;
use uuid::Uuid;

use super::{AttemptDecision::*, AttemptOutcome::*, *};
use crate::rate_limit::{BucketId, RateLimit, local_buckets::LocalBuckets};

const NOW: u64 = 1_800_000_000 * MICROS_PER_SECOND;

/// A bucket of a limit with an interval of 10 s.
fn bucket(name: &'static str, burst: u32) -> Bucket {
    let id = BucketId {
        name,
        owner: Uuid::from_u128(1),
        account: None,
    };
    let period = Duration::from_secs(10 * u64::from(burst));
    let limit = RateLimit::new(burst, period).unwrap();
    Bucket { id, limit }
}

/// An attempt with two blocking buckets and a delaying one.
fn sign_in_attempt() -> Attempt {
    Attempt::counting_failures(
        vec![bucket("pair", 3), bucket("network", 10)],
        bucket("account", 5),
    )
}

fn reservation(kind: BucketKind, store: BucketStore, buckets: &[Bucket]) -> BucketReservation {
    BucketReservation {
        kind,
        store,
        buckets: buckets.to_vec(),
    }
}

fn blocking_in_redis() -> BucketReservation {
    let buckets = [bucket("pair", 3), bucket("network", 10)];
    reservation(BucketKind::Blocking, BucketStore::Redis, &buckets)
}

fn delaying_in_redis() -> BucketReservation {
    let buckets = [bucket("account", 5)];
    reservation(BucketKind::Delaying, BucketStore::Redis, &buckets)
}

/// The result of examining buckets. The levels are in seconds.
fn levels(allowed: bool, seconds: &[u64]) -> BucketLevels {
    BucketLevels {
        allowed,
        levels: seconds
            .iter()
            .map(|level| level * MICROS_PER_SECOND)
            .collect(),
    }
}

/// Performs the decisions of an attempt until none requires a reservation. With Redis, its buckets
/// are `buckets`, too.
fn admit(attempt: &mut Attempt, buckets: &mut LocalBuckets, has_redis: bool) -> AttemptDecision {
    let mut decision = attempt.on_started();
    while let Reserve(reservation) = decision {
        decision = if reservation.store == BucketStore::Redis && !has_redis {
            attempt.on_redis_unavailable(reservation)
        } else {
            let reserved = buckets.reserve(&reservation.buckets, NOW);
            attempt.on_reserved(reservation, &reserved)
        };
    }
    decision
}

#[test]
fn allowed_attempt_reserves_blocking_then_delaying_buckets() {
    let mut attempt = sign_in_attempt();
    assert_eq!(attempt.on_started(), Reserve(blocking_in_redis()));
    assert_eq!(
        attempt.on_reserved(blocking_in_redis(), &levels(true, &[10, 10])),
        Reserve(delaying_in_redis())
    );
    assert_eq!(
        attempt.on_reserved(delaying_in_redis(), &levels(true, &[10])),
        Proceed
    );
}

#[test]
fn attempt_without_delaying_bucket_proceeds() {
    let buckets = [bucket("sign_up", 5)];
    let reserved = reservation(BucketKind::Blocking, BucketStore::Redis, &buckets);
    let mut attempt = Attempt::counting_all(buckets[0]);
    assert_eq!(attempt.on_started(), Reserve(reserved.clone()));
    assert_eq!(attempt.on_reserved(reserved, &levels(true, &[10])), Proceed);
}

#[test]
fn unavailable_redis_falls_back_to_stricter_local_limits() {
    let mut attempt = sign_in_attempt();
    let stricter = |name, burst, period| Bucket {
        limit: RateLimit::new(burst, Duration::from_secs(period)).unwrap(),
        ..bucket(name, 1)
    };
    let local = reservation(
        BucketKind::Blocking,
        BucketStore::Local,
        &[stricter("pair", 1, 30), stricter("network", 3, 100)],
    );
    assert_eq!(
        attempt.on_redis_unavailable(blocking_in_redis()),
        Reserve(local.clone())
    );
    assert_eq!(
        attempt.on_reserved(local, &levels(true, &[30, 33])),
        Reserve(delaying_in_redis()),
        "Redis might respond again"
    );
    let local = reservation(
        BucketKind::Delaying,
        BucketStore::Local,
        &[stricter("account", 2, 50)],
    );
    assert_eq!(
        attempt.on_redis_unavailable(delaying_in_redis()),
        Reserve(local)
    );
}

/// Both buckets have an interval of 10 s, and capacities of 30 s and 100 s.
#[test]
fn full_blocking_buckets_reject_until_the_last_has_room() {
    for (levels_in_micros, limits, retry_after) in [
        ([30_000_000, 10_000_000], vec!["pair"], 10),
        ([20_000_001, 10_000_000], vec!["pair"], 1),
        ([21_000_000, 10_000_000], vec!["pair"], 1),
        ([21_000_001, 10_000_000], vec!["pair"], 2),
        ([10_000_000, 95_000_000], vec!["network"], 5),
        ([30_000_000, 93_000_000], vec!["pair", "network"], 10),
        ([22_000_000, 93_000_000], vec!["pair", "network"], 3),
    ] {
        let reserved = BucketLevels {
            allowed: false,
            levels: levels_in_micros.to_vec(),
        };
        assert_eq!(
            sign_in_attempt().on_reserved(blocking_in_redis(), &reserved),
            Reject {
                limits,
                retry_after
            },
            "{levels_in_micros:?}"
        );
    }
}

/// The bucket has an interval of 10 s and a capacity of 50 s.
#[test]
fn full_delaying_bucket_delays_by_at_most_two_seconds() {
    for (level, delay) in [
        (40_000_001, Duration::from_micros(1)),
        (41_500_000, Duration::from_millis(1_500)),
        (50_000_000, Duration::from_secs(2)),
    ] {
        let reserved = BucketLevels {
            allowed: false,
            levels: vec![level],
        };
        let limit = "account";
        assert_eq!(
            sign_in_attempt().on_reserved(delaying_in_redis(), &reserved),
            Delay { limit, delay },
            "{level}"
        );
    }
}

#[test]
fn only_attempts_that_do_not_count_are_refunded() {
    let counting_failures = || {
        let mut attempt = sign_in_attempt();
        attempt.on_reserved(blocking_in_redis(), &levels(true, &[10, 10]));
        attempt.on_reserved(delaying_in_redis(), &levels(true, &[10]));
        attempt
    };
    let sign_up = reservation(
        BucketKind::Blocking,
        BucketStore::Local,
        &[bucket("sign_up", 5)],
    );
    let counting_all = || {
        let mut attempt = Attempt::counting_all(bucket("sign_up", 5));
        attempt.on_reserved(sign_up.clone(), &levels(true, &[10]));
        attempt
    };
    let both = vec![blocking_in_redis(), delaying_in_redis()];
    for (attempt, outcome, refunds) in [
        (counting_failures(), Succeeded, both.clone()),
        (counting_failures(), Failed, vec![]),
        (counting_failures(), NotCounted, both),
        (counting_all(), Succeeded, vec![]),
        (counting_all(), Failed, vec![]),
        (counting_all(), NotCounted, vec![sign_up.clone()]),
    ] {
        assert_eq!(
            attempt.clone().on_finished(outcome),
            refunds,
            "{outcome:?} of {attempt:?}"
        );
    }
}

#[test]
fn delayed_attempt_is_refunded_in_blocking_buckets_only() {
    let mut attempt = sign_in_attempt();
    attempt.on_reserved(blocking_in_redis(), &levels(true, &[10, 10]));
    attempt.on_reserved(delaying_in_redis(), &levels(false, &[50]));
    assert_eq!(attempt.on_finished(Succeeded), [blocking_in_redis()]);
}

proptest! {
    #[test]
    fn failed_attempts_use_up_the_smallest_burst(
        bursts in (1..12u32, 1..12u32),
        has_redis in any::<bool>(),
        count in 1..30usize,
    ) {
        let blocking = vec![bucket("pair", bursts.0), bucket("network", bursts.1)];
        let mut buckets = LocalBuckets::default();
        let admitted = (0..count)
            .filter(|_| {
                let delaying = bucket("account", 1_000);
                let mut attempt = Attempt::counting_failures(blocking.clone(), delaying);
                let decision = admit(&mut attempt, &mut buckets, has_redis);
                attempt.on_finished(Failed).is_empty() && decision == Proceed
            })
            .count();
        let smallest = bursts.0.min(bursts.1);
        let allowed = if has_redis { smallest } else { smallest.div_ceil(4) };
        prop_assert_eq!(admitted, count.min(allowed as usize));
    }

    #[test]
    fn refunded_attempts_leave_no_trace(has_redis in any::<bool>(), count in 1..30usize) {
        let mut buckets = LocalBuckets::default();
        for _ in 0..count {
            let mut attempt = sign_in_attempt();
            prop_assert_eq!(admit(&mut attempt, &mut buckets, has_redis), Proceed);
            for refund in attempt.on_finished(Succeeded) {
                let levels = buckets.refund(&refund.buckets, NOW);
                prop_assert!(levels.iter().all(|level| *level == 0));
            }
        }
    }
}
