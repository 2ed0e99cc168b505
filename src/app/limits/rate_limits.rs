//! Rate limits for passwords, codes, sign-ups, emails, and failed refreshes.
//!
//! An attempt is counted *before* its work, so that concurrent attempts can't exceed a limit. It is
//! refunded if it doesn't count, because it succeeded or a store was unavailable.
//!
//! Accounts are identified by the entered name, before any lookup. Therefore, an error discloses
//! neither whether a user exists, nor which username and email address belong together. A client
//! that has both can make twice as many attempts.
//!
//! An attacker can't lock out a user. Attempts are rejected only because of earlier attempts of the
//! same network. Attempts of all networks on one account only delay further attempts.

use crate::{
    app::{
        audit::Audit,
        clock::Clock,
        limits::{local_buckets::LocalBuckets, rate_limit_settings::RateLimitSettings},
        origin::{Origin, request_limits::RequestLimits},
    },
    error::{Chain, Error},
    redis::Redis,
};
use futures_util::future::join_all;
use latchkey_domain::{
    audit::{Actor, EventKind},
    one_time_code::CodePurpose,
    rate_limit::{Bucket, BucketId, BucketLevels, MICROS_PER_SECOND, RateLimit, RateLimitKey},
};
use std::sync::Arc;
use uuid::Uuid;

/// Counts, delays, and rejects attempts.
pub struct RateLimits {
    redis: Arc<Redis>,
    clock: Arc<Clock>,
    audit: Arc<Audit>,
    key: RateLimitKey,
    /// The buckets that are used while Redis is unavailable.
    local_buckets: LocalBuckets,
    settings: RateLimitSettings,
}

/// The buckets that count one attempt.
pub(crate) struct Attempt {
    /// The attempt is rejected if one of these buckets is full. They have the same owner, so that
    /// Redis can count in all or none of them.
    blocking: Vec<Bucket>,
    /// The attempt is delayed if this bucket is full. It counts only attempts that the blocking
    /// buckets allow, so that rejected attempts delay no other client.
    delaying: Option<Bucket>,
    /// Whether a successful attempt also counts.
    counts_success: bool,
    /// The origin in the audit event of a rejection; `None` if a rejection isn't audited.
    origin: Option<Origin>,
}

impl Attempt {
    /// Whether an attempt with this outcome counts. For example, an unavailable store or a
    /// malformed request doesn't.
    fn is_counted<T>(&self, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Ok(_) => self.counts_success,
            Err(error) => error.counts_as_attempt(),
        }
    }
}

/// The buckets in which an attempt was counted.
struct Reservation {
    buckets: Vec<Bucket>,
    /// Whether the buckets are in Redis, and not in this replica.
    is_shared: bool,
}

impl RateLimits {
    pub(crate) fn new(
        redis: Arc<Redis>,
        clock: Arc<Clock>,
        audit: Arc<Audit>,
        key: RateLimitKey,
        settings: RateLimitSettings,
    ) -> RateLimits {
        RateLimits {
            redis,
            clock,
            audit,
            key,
            local_buckets: LocalBuckets::default(),
            settings,
        }
    }

    /// Creates the attempt to sign in with a password. `account` is the name that the client sent.
    pub(crate) fn sign_in_attempt(&self, account: &str, origin: &Origin) -> Attempt {
        let (network, account) = (self.network_id(origin), self.key.id(account));
        let pair = new_bucket("sign_in", network, self.settings.sign_in);
        Attempt {
            blocking: vec![
                Bucket {
                    id: BucketId {
                        account: Some(account),
                        ..pair.id
                    },
                    ..pair
                },
                new_bucket("sign_in_network", network, self.settings.sign_in_network),
            ],
            delaying: Some(new_bucket(
                "sign_in_account",
                account,
                self.settings.sign_in_account,
            )),
            counts_success: false,
            origin: Some(origin.clone()),
        }
    }

    /// Creates the attempt to use an emailed code. Redis also counts wrong codes per account and
    /// network, together with the code.
    pub(crate) fn code_attempt(&self, email: &str, origin: &Origin) -> Attempt {
        let limit = self.settings.sign_in_network;
        let network = new_bucket("sign_in_network", self.network_id(origin), limit);
        let account = new_bucket(
            "code_account",
            self.key.id(email),
            self.settings.code_account,
        );
        Attempt {
            blocking: vec![network],
            delaying: Some(account),
            counts_success: false,
            origin: Some(origin.clone()),
        }
    }

    /// Creates the attempt to sign up.
    pub(crate) fn sign_up_attempt(&self, origin: &Origin) -> Attempt {
        success_counting_attempt(
            new_bucket("sign_up", self.network_id(origin), self.settings.sign_up),
            Some(origin),
        )
    }

    /// Creates the attempt to request a password reset code.
    pub(crate) fn reset_request_attempt(&self, origin: &Origin) -> Attempt {
        success_counting_attempt(
            new_bucket(
                "reset_request",
                self.network_id(origin),
                self.settings.reset_request,
            ),
            Some(origin),
        )
    }

    /// Runs a task that counts as an attempt. If a blocking bucket is full, the task doesn't run.
    /// If the delaying bucket is full, the task runs later.
    ///
    /// # Errors
    /// `too_many_requests`, and the errors of the task.
    pub(crate) async fn run_rate_limited<T>(
        &self,
        attempt: Attempt,
        request_limits: &RequestLimits,
        task: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.settings.is_enabled {
            return task.await;
        }
        let reservations = self.admit_attempt(&attempt, request_limits).await?;
        let outcome = task.await;
        if !attempt.is_counted(&outcome) {
            // Concurrently, so that all refunds take one round trip.
            join_all(
                reservations
                    .iter()
                    .map(|reservation| self.refund_attempt(reservation, request_limits)),
            )
            .await;
        }
        outcome
    }

    /// Runs a task that enqueues an email, unless the recipient has reached the quota for this
    /// purpose. Beyond the quota, returns `Ok` without running the task.
    ///
    /// A client can cause emails to the address of another user, so an error would disclose
    /// earlier requests. The last code remains valid, and by default the quota allows another email
    /// when the code expires. The quota is per purpose, so that emails of another purpose can't
    /// exhaust it.
    ///
    /// # Errors
    /// The errors of the task.
    pub(crate) async fn run_within_email_quota(
        &self,
        purpose: CodePurpose,
        recipient: &str,
        task: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let owner = self.key.id(&format!("{} {recipient}", purpose.as_str()));
        let bucket = new_bucket("email", owner, self.settings.email);
        let attempt = success_counting_attempt(bucket, None);
        match self
            .run_rate_limited(attempt, &RequestLimits::default(), task)
            .await
        {
            Err(Error::TooManyRequests { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Counts a failed refresh. A valid refresh token is never rejected and not counted.
    ///
    /// # Errors
    /// The errors of the refresh; beyond the limit, `too_many_requests` instead of
    /// `invalid_refresh_token` and `refresh_token_reused`.
    pub(crate) async fn rate_limit_failed_refresh<T>(
        &self,
        outcome: Result<T, Error>,
        origin: &Origin,
    ) -> Result<T, Error> {
        if !self.settings.is_enabled {
            return outcome;
        }
        let bucket = new_bucket(
            "refresh_failures",
            self.network_id(origin),
            self.settings.refresh_failures,
        );
        origin.request_limits.set_level(&bucket, None);
        match outcome {
            Err(error @ (Error::InvalidRefreshToken | Error::RefreshTokenReused)) => {
                // Boxed: cold path, keeps the caller's future small.
                let admitted = Box::pin(self.admit_attempt(
                    &success_counting_attempt(bucket, Some(origin)),
                    &origin.request_limits,
                ))
                .await;
                Err(admitted.err().unwrap_or(error))
            }
            other => other,
        }
    }

    /// Counts an attempt in its buckets, and waits if the delaying bucket is full.
    ///
    /// # Errors
    /// `too_many_requests`.
    async fn admit_attempt(
        &self,
        attempt: &Attempt,
        request_limits: &RequestLimits,
    ) -> Result<Vec<Reservation>, Error> {
        let (blocking, BucketLevels { allowed, levels }) =
            self.reserve_buckets(attempt.blocking.clone()).await;
        let bucket_levels: Vec<_> = blocking.buckets.iter().zip(levels).collect();
        bucket_levels
            .iter()
            .for_each(|(bucket, level)| request_limits.set_level(bucket, Some(*level)));
        if !allowed {
            return Err(self.reject_attempt(&bucket_levels, attempt.origin.as_ref()));
        }
        bucket_levels
            .iter()
            .for_each(|(bucket, _)| count_decision(bucket, "allowed"));
        let delaying = match attempt.delaying {
            Some(delaying) => self.delay_attempt(delaying).await,
            None => None,
        };
        Ok([Some(blocking), delaying].into_iter().flatten().collect())
    }

    /// Counts an attempt in the delaying bucket. If the bucket is full, waits and doesn't count it.
    async fn delay_attempt(&self, delaying: Bucket) -> Option<Reservation> {
        let (reservation, BucketLevels { allowed, levels }) =
            self.reserve_buckets(vec![delaying]).await;
        count_decision(&delaying, if allowed { "allowed" } else { "delayed" });
        if allowed {
            return Some(reservation);
        }
        let delays = reservation
            .buckets
            .iter()
            .zip(levels)
            .map(|(bucket, level)| bucket.limit.delay(level));
        tokio::time::sleep(delays.max().unwrap_or_default()).await;
        None
    }

    /// Counts an attempt in Redis, for all replicas. If Redis is unavailable, counts it in this
    /// replica with a stricter limit.
    async fn reserve_buckets(&self, mut buckets: Vec<Bucket>) -> (Reservation, BucketLevels) {
        match self.redis.reserve_attempt(&buckets).await {
            Ok(reserved) => (
                Reservation {
                    buckets,
                    is_shared: true,
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
                        is_shared: false,
                    },
                    reserved,
                )
            }
        }
    }

    async fn refund_attempt(&self, reservation: &Reservation, request_limits: &RequestLimits) {
        let buckets = &reservation.buckets;
        let levels = if reservation.is_shared {
            self.redis.refund_attempt(buckets).await
        } else {
            Ok(self.local_buckets.refund(buckets, self.now_micros()))
        };
        match levels {
            Ok(levels) => buckets.iter().zip(levels).for_each(|(bucket, level)| {
                count_decision(bucket, "refunded");
                request_limits.update_level(bucket, level);
            }),
            // The attempt stays counted until the bucket empties over time.
            Err(error) => tracing::debug!(error = %Chain(&error), "rate limit refund failed"),
        }
    }

    /// Audits a rejected attempt. Returns the error with the time until all buckets allow the next.
    ///
    /// The audit event contains no user, because a rejection must not cost a query.
    fn reject_attempt(&self, bucket_levels: &[(&Bucket, u64)], origin: Option<&Origin>) -> Error {
        let full_buckets = bucket_levels
            .iter()
            .filter(|(bucket, level)| bucket.limit.retry_after(*level) > 0);
        for (bucket, _) in full_buckets {
            count_decision(bucket, "rejected");
            if let Some(origin) = origin {
                let event = origin.event(EventKind::RateLimited, Actor::Unauthenticated, None);
                self.audit
                    .record_denied(event.with_reason(bucket.id.name), origin);
            }
        }
        let wait = bucket_levels
            .iter()
            .map(|(bucket, level)| bucket.limit.retry_after(*level))
            .max()
            .unwrap_or_default();
        Error::TooManyRequests {
            retry_after: wait.div_ceil(MICROS_PER_SECOND).max(1),
        }
    }

    /// Returns a keyed hash of the client network, so that buckets contain no IP address.
    pub(crate) fn network_id(&self, origin: &Origin) -> Uuid {
        self.key.id(&origin.network())
    }

    fn now_micros(&self) -> u64 {
        self.clock.now_ms() * 1000
    }
}

fn new_bucket(name: &'static str, owner: Uuid, limit: RateLimit) -> Bucket {
    Bucket {
        id: BucketId {
            name,
            owner,
            account: None,
        },
        limit,
    }
}

/// Creates an attempt that also counts if it succeeds.
fn success_counting_attempt(bucket: Bucket, origin: Option<&Origin>) -> Attempt {
    Attempt {
        blocking: vec![bucket],
        delaying: None,
        counts_success: true,
        origin: origin.cloned(),
    }
}

fn count_decision(bucket: &Bucket, outcome: &'static str) {
    metrics::counter!("latchkey_rate_limit_decisions_total", "limit" => bucket.id.name, "outcome" => outcome)
        .increment(1);
}
