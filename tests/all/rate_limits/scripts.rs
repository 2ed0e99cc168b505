//! The Redis scripts and the buckets of a replica that counts alone have the same arithmetic.

use std::time::Duration;

use deadpool_redis::redis::{Script, aio::MultiplexedConnection};
use latchkey_domain::rate_limit::{
    Bucket, BucketId, BucketLevels, MICROS_PER_SECOND, RateLimit, local_buckets::LocalBuckets,
};
use uuid::Uuid;

use crate::test_stores::{STACK, connect_redis};

const RESERVE: &str = include_str!("../../../src/redis/scripts/rate_limit.lua");
const REFUND: &str = include_str!("../../../src/redis/scripts/rate_limit_refund.lua");

/// A time with 16 digits. Lua's default format of numbers would lose the last two.
const START: u64 = 1_800_000_000_123_457;

/// Returns a script for which it is always `now`, in microseconds since the Unix epoch.
fn script_at(text: &str, now: u64) -> Script {
    let clock = "redis.call('TIME')";
    assert_eq!(text.matches(clock).count(), 1, "the script reads one clock");
    let (seconds, micros) = (now / MICROS_PER_SECOND, now % MICROS_PER_SECOND);
    Script::new(&text.replace(clock, &format!("{{ '{seconds}', '{micros}' }}")))
}

/// Buckets in Redis with a prefix of their own.
struct RedisBuckets {
    connection: MultiplexedConnection,
    prefix: String,
}

impl RedisBuckets {
    async fn new() -> RedisBuckets {
        RedisBuckets {
            connection: connect_redis(&STACK.redis_url()).await,
            prefix: format!("t{}", Uuid::new_v4().simple()),
        }
    }

    fn key(&self, bucket: &Bucket) -> String {
        format!("{}:{}", self.prefix, bucket.id.owner)
    }

    async fn reserve(&mut self, buckets: &[Bucket], now: u64) -> BucketLevels {
        let script = script_at(RESERVE, now);
        let mut invocation = script.prepare_invoke();
        for bucket in buckets {
            invocation
                .key(self.key(bucket))
                .arg(bucket.limit.interval())
                .arg(bucket.limit.capacity());
        }
        let (allowed, levels) = invocation
            .invoke_async(&mut self.connection)
            .await
            .expect("Redis responds");
        BucketLevels { allowed, levels }
    }

    async fn refund(&mut self, buckets: &[Bucket], now: u64) -> Vec<u64> {
        let script = script_at(REFUND, now);
        let mut invocation = script.prepare_invoke();
        for bucket in buckets {
            invocation
                .key(self.key(bucket))
                .arg(bucket.limit.interval());
        }
        invocation
            .invoke_async(&mut self.connection)
            .await
            .expect("Redis responds")
    }
}

/// A bucket with this burst per day, so that no level reaches zero during the test in real time.
fn bucket(owner: u128, burst: u32) -> Bucket {
    let id = BucketId {
        name: "sign_in",
        owner: Uuid::from_u128(owner),
        account: None,
    };
    let limit = RateLimit::new(burst, Duration::from_secs(86_400)).expect("a valid limit");
    Bucket { id, limit }
}

#[tokio::test]
async fn scripts_and_local_buckets_give_equal_levels() {
    let (mut shared, mut local) = (RedisBuckets::new().await, LocalBuckets::default());
    let (narrow, wide) = (bucket(1, 2), bucket(2, 7));
    let interval = wide.limit.interval();
    let mut now = START;
    let mut decisions = Vec::new();
    // The pause before the attempt in µs, its buckets, and whether it is refunded.
    for (pause, buckets, is_refunded) in [
        (0, vec![narrow, wide], false),
        (1, vec![narrow, wide], true),
        (999_999, vec![wide], false),
        (1_234_567, vec![narrow, wide], false),
        (0, vec![narrow, wide], false),
        (interval / 3, vec![wide], true),
        (0, vec![wide], false),
        (0, vec![wide], false),
        (0, vec![wide, narrow], false),
        (0, vec![wide], false),
        (0, vec![wide], false),
        (interval, vec![wide], false),
        (narrow.limit.interval() - interval, vec![narrow], false),
        (4 * narrow.limit.capacity(), vec![narrow, wide], true),
        (0, vec![narrow], false),
    ] {
        now += pause;
        let reserved = shared.reserve(&buckets, now).await;
        assert_eq!(reserved, local.reserve(&buckets, now), "{buckets:?}");
        decisions.push(reserved.allowed);
        if is_refunded {
            let levels = shared.refund(&buckets, now).await;
            assert_eq!(levels, local.refund(&buckets, now), "{buckets:?}");
        }
    }
    assert!(decisions.contains(&true) && decisions.contains(&false));
}
