//! The buckets that all replicas share.
//!
//! The keys of one script share a hash tag, here that of the buckets' owner: a network, an account
//! or a recipient. So what is decided together lives together, and a cluster spreads the owners
//! over its nodes; one tag for all would make one node count for everybody.

use std::sync::LazyLock;

use super::{Redis, bytes, script::Script};
use crate::{
    domain::throttle::{Bucket, BucketId, Reserved},
    error::Error,
};

static RESERVE: LazyLock<Script> =
    LazyLock::new(|| Script::new("throttle", include_str!("throttle.lua")));
static REFUND: LazyLock<Script> =
    LazyLock::new(|| Script::new("throttle_refund", include_str!("throttle_refund.lua")));

impl Redis {
    /// Counts one try in buckets of one owner, in all or in none.
    pub async fn reserve_try(&self, buckets: &[Bucket]) -> Result<Reserved, Error> {
        let args = buckets
            .iter()
            .flat_map(|Bucket { limit, .. }| [limit.interval(), limit.capacity()]);
        let args: Vec<String> = args.map(|micros| micros.to_string()).collect();
        let (allowed, levels) = self
            .run(&RESERVE, &self.bucket_keys(buckets), &bytes(&args))
            .await?;
        Ok(Reserved { allowed, levels })
    }

    /// Takes a try back that was counted; the levels afterwards.
    pub async fn refund_try(&self, buckets: &[Bucket]) -> Result<Vec<u64>, Error> {
        let args: Vec<String> = buckets
            .iter()
            .map(|bucket| bucket.limit.interval().to_string())
            .collect();
        self.run(&REFUND, &self.bucket_keys(buckets), &bytes(&args))
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
            format!("{}:{{{owner}}}:throttle:{name}{account}", self.prefix)
        };
        buckets.iter().map(|bucket| key(bucket.id)).collect()
    }
}
