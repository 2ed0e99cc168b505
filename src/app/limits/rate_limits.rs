//! Throttles: how often passwords may be tried, accounts made and mails caused.
//!
//! A try is counted *before* the work that it causes, so that a thousand at the same moment are
//! counted like a thousand one after the other, and is taken back when it does not count: because
//! it succeeded, or because a store was down. Accounts are counted by what was typed, known or not,
//! before anybody looks: so a refusal tells nobody whether an account exists, nor which name and
//! which address belong together. (Who knows both has twice the tries.)
//!
//! Nothing a stranger does keeps an owner out: only what one network did is refused to that
//! network; what all of them did to one account makes further tries wait a little.

pub use crate::app::limits::local_buckets::LocalBuckets;
use futures_util::future::join_all;
use latchkey_domain::{
    audit::{Actor, EventKind},
    one_time_code::CodePurpose,
    rate_limit::{Bucket, BucketId, BucketLevels, Limit},
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, limits::request_limits::RequestLimits},
    error::{Chain, Error},
};

/// Microseconds of a second.
pub(crate) const MICROS_PER_SECOND: u64 = 1_000_000;

/// What one try is counted in.
pub(crate) struct Attempt {
    /// Of one owner: all of them must allow it.
    blocking: Vec<Bucket>,
    /// Asked once those have allowed it, so that what is refused slows nobody.
    delaying: Option<Bucket>,
    /// Whether it counts also where it succeeds.
    success_counts: bool,
    /// Who made it; nothing where a refusal is told to nobody.
    origin: Option<Origin>,
}

impl Attempt {
    /// Whether a try that ended so was one: a store that is down, or a request that is malformed,
    /// is none.
    fn counts<T>(&self, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Ok(_) => self.success_counts,
            Err(error) => error.counts_as_attempt(),
        }
    }
}

/// Where a try was counted.
struct Reservation {
    buckets: Vec<Bucket>,
    shared: bool,
}

impl Gateway {
    /// A password for an account, as it was named.
    pub(crate) fn sign_in_attempt(&self, account: &str, origin: &Origin) -> Attempt {
        let (network, account) = (self.network_id(origin), self.rate_limit_key.id(account));
        let pair = bucket("sign_in", network, self.config.limit_sign_in);
        Attempt {
            blocking: vec![
                Bucket {
                    id: BucketId {
                        account: Some(account),
                        ..pair.id
                    },
                    ..pair
                },
                bucket(
                    "sign_in_network",
                    network,
                    self.config.limit_sign_in_network,
                ),
            ],
            delaying: Some(bucket(
                "sign_in_account",
                account,
                self.config.limit_sign_in_account,
            )),
            success_counts: false,
            origin: Some(origin.clone()),
        }
    }

    /// A mailed code for an account. The wrong ones from one network are counted with the code.
    pub(crate) fn code_attempt(&self, email: &str, origin: &Origin) -> Attempt {
        let limit = self.config.limit_sign_in_network;
        let network = bucket("sign_in_network", self.network_id(origin), limit);
        let account = bucket(
            "code_account",
            self.rate_limit_key.id(email),
            self.config.limit_code_account,
        );
        Attempt {
            blocking: vec![network],
            delaying: Some(account),
            success_counts: false,
            origin: Some(origin.clone()),
        }
    }

    /// A new account.
    pub(crate) fn sign_up_attempt(&self, origin: &Origin) -> Attempt {
        counting_successes(
            bucket(
                "sign_up",
                self.network_id(origin),
                self.config.limit_sign_up,
            ),
            Some(origin),
        )
    }

    /// A request for a code.
    pub(crate) fn reset_request_attempt(&self, origin: &Origin) -> Attempt {
        counting_successes(
            bucket(
                "reset_request",
                self.network_id(origin),
                self.config.limit_reset_request,
            ),
            Some(origin),
        )
    }

    /// Runs a story that counts as a try: not at all where the limits refuse it, a little later
    /// where they say so.
    ///
    /// # Errors
    /// `too_many_requests`, and those of the story.
    pub(crate) async fn rate_limited<T>(
        &self,
        attempt: Attempt,
        request_limits: &RequestLimits,
        task: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.config.rate_limits.0 {
            return task.await;
        }
        let held = self.admit(&attempt, request_limits).await?;
        let outcome = task.await;
        if !attempt.counts(&outcome) {
            // In one round trip, not one after the other.
            join_all(held.iter().map(|held| self.refund(held, request_limits))).await;
        }
        outcome
    }

    /// Runs what promises a mail that a stranger can cause, unless the recipient had enough of its
    /// kind: then nothing is done, and nobody is told. The last code stays the good one, and by
    /// default one more mail is due when it dies. A budget for all kinds would be used up with
    /// mails that help the recipient to nothing.
    ///
    /// # Errors
    /// Those of the promise.
    pub(crate) async fn within_email_quota(
        &self,
        purpose: CodePurpose,
        recipient: &str,
        promise: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let owner = self
            .rate_limit_key
            .id(&format!("{} {recipient}", purpose.as_str()));
        let budget = counting_successes(bucket("email", owner, self.config.limit_email), None);
        match self
            .rate_limited(budget, &RequestLimits::default(), promise)
            .await
        {
            Err(Error::TooManyRequests { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Counts a refresh that failed, and only that: a good token is never refused, and costs
    /// nothing.
    ///
    /// # Errors
    /// `too_many_requests` in the place of a refusal, beyond the limit; else those of the refresh.
    pub(crate) async fn rate_limit_failed_refresh<T>(
        &self,
        outcome: Result<T, Error>,
        origin: &Origin,
    ) -> Result<T, Error> {
        if !self.config.rate_limits.0 {
            return outcome;
        }
        let bucket = bucket(
            "refresh_failures",
            self.network_id(origin),
            self.config.limit_refresh_failures,
        );
        origin.request_limits.note(&bucket, None);
        match outcome {
            Err(error @ (Error::InvalidRefreshToken | Error::RefreshTokenReused)) => {
                // Rare, and large: no refresh needs to have room for it.
                let admitted = Box::pin(self.admit(
                    &counting_successes(bucket, Some(origin)),
                    &origin.request_limits,
                ))
                .await;
                Err(admitted.err().unwrap_or(error))
            }
            other => other,
        }
    }

    async fn admit(
        &self,
        attempt: &Attempt,
        request_limits: &RequestLimits,
    ) -> Result<Vec<Reservation>, Error> {
        let (blocking, BucketLevels { allowed, levels }) =
            self.reserve(attempt.blocking.clone()).await;
        let known: Vec<_> = blocking.buckets.iter().zip(levels).collect();
        known
            .iter()
            .for_each(|(bucket, level)| request_limits.note(bucket, Some(*level)));
        if !allowed {
            return Err(self.refusal(&known, attempt.origin.as_ref()));
        }
        known
            .iter()
            .for_each(|(bucket, _)| count(bucket, "allowed"));
        let delaying = match attempt.delaying {
            Some(delaying) => self.delay(delaying).await,
            None => None,
        };
        Ok([Some(blocking), delaying].into_iter().flatten().collect())
    }

    /// Where there is no room the try is not counted, but waits.
    async fn delay(&self, delaying: Bucket) -> Option<Reservation> {
        let (held, BucketLevels { allowed, levels }) = self.reserve(vec![delaying]).await;
        count(&delaying, if allowed { "allowed" } else { "delayed" });
        if allowed {
            return Some(held);
        }
        let delays = held
            .buckets
            .iter()
            .zip(levels)
            .map(|(bucket, level)| bucket.limit.delay(level));
        tokio::time::sleep(delays.max().unwrap_or_default()).await;
        None
    }

    /// Redis counts for all replicas; without it each counts for itself, more strictly.
    async fn reserve(&self, mut buckets: Vec<Bucket>) -> (Reservation, BucketLevels) {
        match self.redis.reserve_attempt(&buckets).await {
            Ok(reserved) => (
                Reservation {
                    buckets,
                    shared: true,
                },
                reserved,
            ),
            Err(error) => {
                let error = Chain(&error);
                tracing::debug!(%error, "rate limiting fell back to local counters");
                buckets
                    .iter_mut()
                    .for_each(|bucket| bucket.limit = bucket.limit.stricter());
                let reserved = self.local_buckets.reserve(&buckets, self.now_micros());
                (
                    Reservation {
                        buckets,
                        shared: false,
                    },
                    reserved,
                )
            }
        }
    }

    async fn refund(&self, held: &Reservation, request_limits: &RequestLimits) {
        let levels = if held.shared {
            self.redis.refund_attempt(&held.buckets).await
        } else {
            Ok(self.local_buckets.refund(&held.buckets, self.now_micros()))
        };
        match levels {
            Ok(levels) => held.buckets.iter().zip(levels).for_each(|(bucket, level)| {
                count(bucket, "refunded");
                request_limits.renew(bucket, level);
            }),
            // It stays counted until the bucket has emptied by itself.
            Err(error) => tracing::debug!(error = %Chain(&error), "rate limit refund failed"),
        }
    }

    /// Until all of them would allow it. Whose account it was about is not looked up: what is
    /// refused must stay cheap.
    fn refusal(&self, known: &[(&Bucket, u64)], origin: Option<&Origin>) -> Error {
        let refusing = known
            .iter()
            .filter(|(bucket, level)| bucket.limit.retry_after(*level) > 0);
        for (bucket, _) in refusing {
            count(bucket, "rejected");
            if let Some(origin) = origin {
                let event = origin.event(EventKind::RateLimited, Actor::Unauthenticated, None);
                self.record_denied(event.with_reason(bucket.id.name), origin);
            }
        }
        let wait = known
            .iter()
            .map(|(bucket, level)| bucket.limit.retry_after(*level))
            .max()
            .unwrap_or_default();
        Error::TooManyRequests {
            retry_after: wait.div_ceil(MICROS_PER_SECOND).max(1),
        }
    }

    pub(crate) fn network_id(&self, origin: &Origin) -> Uuid {
        self.rate_limit_key.id(&origin.network())
    }

    fn now_micros(&self) -> u64 {
        self.clock.now_ms() * 1000
    }
}

fn bucket(name: &'static str, owner: Uuid, limit: Limit) -> Bucket {
    Bucket {
        id: BucketId {
            name,
            owner,
            account: None,
        },
        limit,
    }
}

fn counting_successes(bucket: Bucket, origin: Option<&Origin>) -> Attempt {
    Attempt {
        blocking: vec![bucket],
        delaying: None,
        success_counts: true,
        origin: origin.cloned(),
    }
}

fn count(bucket: &Bucket, outcome: &'static str) {
    metrics::counter!("latchkey_rate_limit_decisions_total", "limit" => bucket.id.name, "outcome" => outcome)
        .increment(1);
}
