//! Rate limit buckets that all replicas share.
//!
//! The keys of one script share a hash tag: the owner of the buckets (a network, a user, or a
//! recipient). So a cluster can run the script on one node, and spreads the owners over its nodes.

use std::sync::LazyLock;

use latchkey_domain::rate_limit::{Bucket, BucketId, BucketLevels};

use crate::{
    error::Error,
    redis::{Redis, script::Script, to_byte_args},
};

static RATE_LIMIT: LazyLock<Script> =
    LazyLock::new(|| Script::new("rate_limit", include_str!("scripts/rate_limit.lua")));
static RATE_LIMIT_REFUND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "rate_limit_refund",
        include_str!("scripts/rate_limit_refund.lua"),
    )
});

impl Redis {
    /// Counts one attempt in buckets of one owner: in all of them or in none.
    pub async fn reserve_attempt(&self, buckets: &[Bucket]) -> Result<BucketLevels, Error> {
        let args = buckets
            .iter()
            .flat_map(|Bucket { limit, .. }| [limit.interval(), limit.capacity()]);
        let args: Vec<String> = args.map(|micros| micros.to_string()).collect();
        let (allowed, levels) = self
            .run(
                &RATE_LIMIT,
                &self.bucket_keys(buckets),
                &to_byte_args(&args),
            )
            .await?;
        Ok(BucketLevels { allowed, levels })
    }

    /// Refunds an attempt; returns the levels afterwards.
    pub async fn refund_attempt(&self, buckets: &[Bucket]) -> Result<Vec<u64>, Error> {
        let args: Vec<String> = buckets
            .iter()
            .map(|bucket| bucket.limit.interval().to_string())
            .collect();
        self.run(
            &RATE_LIMIT_REFUND,
            &self.bucket_keys(buckets),
            &to_byte_args(&args),
        )
        .await
    }

    fn bucket_keys(&self, buckets: &[Bucket]) -> Vec<String> {
        let key = |BucketId {
                       name,
                       owner,
                       account,
                   }: BucketId| {
            let account = account
                .map(|account| format!(":{account}"))
                .unwrap_or_default();
            format!("{}:{{{owner}}}:rate_limit:{name}{account}", self.prefix())
        };
        buckets.iter().map(|bucket| key(bucket.id)).collect()
    }
}
