//! Rate limit buckets that all replicas share.
//!
//! The keys of one script share a hash tag: the owner of the buckets (a network, a user, or a
//! recipient). So a cluster can run the script on one node, and spreads the owners over its nodes.

use std::sync::LazyLock;

use latchkey_domain::rate_limit::{Bucket, BucketId, BucketLevels};
use uuid::Uuid;

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

static DELETE_MATCHING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "delete_matching",
        include_str!("scripts/delete_matching.lua"),
    )
});

impl Redis {
    /// Deletes the buckets of accounts: those that an account owns, and those of all networks for
    /// an account. Deletes the wrong attempts on codes of a user as well. Returns the number of
    /// deleted keys.
    ///
    /// It reads the names of all keys, in parts, so that other operations don't wait.
    pub async fn delete_account_counters(
        &self,
        accounts: &[Uuid],
        user_id: Uuid,
    ) -> Result<u64, Error> {
        let prefix = escape_pattern(self.prefix());
        let of_account = |account: &Uuid| {
            [
                format!("{prefix}:{{{account}}}:rate_limit:*"),
                format!("{prefix}:{{*}}:rate_limit:*:{account}"),
            ]
        };
        let of_codes = format!("{prefix}:{{{user_id}}}:code:*:attempts:*");
        let mut deleted = 0;
        for pattern in accounts.iter().flat_map(of_account).chain([of_codes]) {
            deleted += self.delete_matching(&pattern).await?;
        }
        Ok(deleted)
    }

    async fn delete_matching(&self, pattern: &str) -> Result<u64, Error> {
        let (mut cursor, mut deleted) = ("0".to_owned(), 0);
        loop {
            let args = [cursor.as_bytes(), pattern.as_bytes()];
            let (next, count): (String, u64) = self.run(&DELETE_MATCHING, &[], &args).await?;
            deleted += count;
            if next == "0" {
                return Ok(deleted);
            }
            cursor = next;
        }
    }

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

/// Escapes a text for a pattern of key names.
fn escape_pattern(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
