//! Rate limits for passwords, codes, sign-ups, emails, and failed refreshes.
//!
//! An attempt is counted *before* its work, so that concurrent attempts can't exceed a limit. It is
//! refunded if its task failed for a reason that doesn't count, such as an unavailable store.
//! Sign-in and code attempts are also refunded on success. After a disconnect, the attempt stays
//! counted.
//!
//! Accounts are identified by the entered name, before any lookup; a signed-in caller by the user
//! ID. Therefore, an error discloses neither whether a user exists, nor which username and email
//! address belong together. A client that has both can make twice as many attempts.
//!
//! An attacker can't lock out a user. Attempts are rejected only because of earlier attempts of the
//! same network. Attempts of all networks on one account only delay further attempts. The email
//! quota is the exception: it counts per recipient, and beyond it no email is sent.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use latchkey_domain::{
    audit::{Actor, EventKind},
    rate_limit::{
        Bucket, BucketId, BucketLevels, RateLimit, RateLimitKey,
        attempt::{
            Attempt, AttemptDecision, AttemptOutcome, BucketKind, BucketReservation, BucketStore,
        },
        local_buckets::LocalBuckets,
    },
};
use uuid::Uuid;

use crate::{
    app::{
        audit::Audit,
        clock::Clock,
        limits::rate_limit_settings::RateLimitSettings,
        origin::{Origin, request_limits::RequestLimits},
    },
    error::{Chain, Error},
    redis::Redis,
};

/// Counts, delays, and rejects attempts. Performs the decisions of [`Attempt`].
pub struct RateLimits {
    redis: Arc<Redis>,
    clock: Arc<Clock>,
    audit: Arc<Audit>,
    key: RateLimitKey,
    /// The buckets that are used while Redis is unavailable.
    local_buckets: Mutex<LocalBuckets>,
    settings: RateLimitSettings,
}

/// An attempt of a request.
pub(crate) struct RequestAttempt {
    attempt: Attempt,
    /// The origin in the audit event of a rejection; `None` if a rejection isn't audited.
    origin: Option<Origin>,
}

impl RequestAttempt {
    fn new(attempt: Attempt, origin: Option<&Origin>) -> RequestAttempt {
        RequestAttempt {
            attempt,
            origin: origin.cloned(),
        }
    }
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
            local_buckets: Mutex::default(),
            settings,
        }
    }

    /// Creates the attempt to sign in with a password. `account` is the entered name, or the ID of
    /// a signed-in user.
    pub(crate) fn sign_in_attempt(&self, account: &str, origin: &Origin) -> RequestAttempt {
        let (network, account) = (self.network_id(origin), self.key.id(account));
        let pair = new_bucket("sign_in", network, self.settings.sign_in);
        let blocking = vec![
            Bucket {
                id: BucketId {
                    account: Some(account),
                    ..pair.id
                },
                ..pair
            },
            new_bucket("sign_in_network", network, self.settings.sign_in_network),
        ];
        let delaying = new_bucket("sign_in_account", account, self.settings.sign_in_account);
        RequestAttempt::new(Attempt::counting_failures(blocking, delaying), Some(origin))
    }

    /// Creates the attempt to use an emailed code. Redis also counts wrong codes per user and
    /// network, together with the code.
    pub(crate) fn code_attempt(&self, account: &str, origin: &Origin) -> RequestAttempt {
        let limit = self.settings.sign_in_network;
        let network = new_bucket("sign_in_network", self.network_id(origin), limit);
        let delaying = new_bucket(
            "code_account",
            self.key.id(account),
            self.settings.code_account,
        );
        RequestAttempt::new(
            Attempt::counting_failures(vec![network], delaying),
            Some(origin),
        )
    }

    /// Creates the attempt to sign up.
    pub(crate) fn sign_up_attempt(&self, origin: &Origin) -> RequestAttempt {
        let bucket = new_bucket("sign_up", self.network_id(origin), self.settings.sign_up);
        RequestAttempt::new(Attempt::counting_all(bucket), Some(origin))
    }

    /// Creates the attempt to request a password reset code.
    pub(crate) fn reset_request_attempt(&self, origin: &Origin) -> RequestAttempt {
        let limit = self.settings.reset_request;
        let bucket = new_bucket("reset_request", self.network_id(origin), limit);
        RequestAttempt::new(Attempt::counting_all(bucket), Some(origin))
    }

    /// Runs a task that counts as an attempt. If a blocking bucket is full, the task doesn't run.
    /// If the delaying bucket is full, the task runs later.
    ///
    /// # Errors
    /// `too_many_requests`, and the errors of the task.
    pub(crate) async fn run_rate_limited<T>(
        &self,
        mut attempt: RequestAttempt,
        request_limits: &RequestLimits,
        task: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.settings.is_enabled {
            return task.await;
        }
        self.admit_attempt(&mut attempt, request_limits).await?;
        let result = task.await;
        let refunds = attempt.attempt.on_finished(classify_result(&result));
        // Concurrently, so that all refunds take one round trip.
        join_all(
            refunds
                .iter()
                .map(|reservation| self.refund_attempt(reservation, request_limits)),
        )
        .await;
        result
    }

    /// Runs a task that enqueues or sends an email, unless the recipient has reached the quota for
    /// this kind: the purpose of the code, or `notice`. Beyond the quota, returns `Ok` without
    /// running the task.
    ///
    /// A client can cause emails to the address of another user, so an error would disclose
    /// earlier requests. The last code remains valid, and by default the quota allows another email
    /// when the code expires. The quota is per kind, so that emails of another kind can't exhaust
    /// it.
    ///
    /// # Errors
    /// The errors of the task.
    pub(crate) async fn run_within_email_quota(
        &self,
        kind: &str,
        recipient: &str,
        task: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let owner = self.key.id(&format!("{kind} {recipient}"));
        let bucket = new_bucket("email", owner, self.settings.email);
        let attempt = RequestAttempt::new(Attempt::counting_all(bucket), None);
        // Separate limits, so that the response headers don't disclose the recipient's quota.
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
                let mut attempt = RequestAttempt::new(Attempt::counting_all(bucket), Some(origin));
                let admitted =
                    Box::pin(self.admit_attempt(&mut attempt, &origin.request_limits)).await;
                Err(admitted.err().unwrap_or(error))
            }
            other => other,
        }
    }

    /// Performs the decisions about an attempt until its task can run.
    ///
    /// # Errors
    /// `too_many_requests`.
    async fn admit_attempt(
        &self,
        RequestAttempt { attempt, origin }: &mut RequestAttempt,
        request_limits: &RequestLimits,
    ) -> Result<(), Error> {
        let mut decision = attempt.on_started();
        loop {
            decision = match decision {
                AttemptDecision::Reserve(reservation) => {
                    match self.reserve_buckets(&reservation).await {
                        Ok(reserved) => {
                            report_reservation(&reservation, &reserved, request_limits);
                            attempt.on_reserved(reservation, &reserved)
                        }
                        Err(error) => {
                            let error = Chain(&error);
                            tracing::debug!(%error, "rate limiting fell back to local buckets");
                            attempt.on_redis_unavailable(reservation)
                        }
                    }
                }
                AttemptDecision::Proceed => return Ok(()),
                AttemptDecision::Delay { limit, delay } => {
                    count_decision(limit, "delayed");
                    tokio::time::sleep(delay).await;
                    return Ok(());
                }
                AttemptDecision::Reject {
                    limits,
                    retry_after,
                } => {
                    self.report_rejection(&limits, origin.as_ref());
                    return Err(Error::TooManyRequests { retry_after });
                }
            }
        }
    }

    async fn reserve_buckets(
        &self,
        reservation: &BucketReservation,
    ) -> Result<BucketLevels, Error> {
        let buckets = &reservation.buckets;
        match reservation.store {
            BucketStore::Redis => self.redis.reserve_attempt(buckets).await,
            BucketStore::Local => {
                let mut local_buckets = self.local_buckets.lock().expect("no holder panics");
                Ok(local_buckets.reserve(buckets, self.now_micros()))
            }
        }
    }

    async fn refund_attempt(
        &self,
        reservation: &BucketReservation,
        request_limits: &RequestLimits,
    ) {
        let buckets = &reservation.buckets;
        let levels = match reservation.store {
            BucketStore::Redis => self.redis.refund_attempt(buckets).await,
            BucketStore::Local => {
                let mut local_buckets = self.local_buckets.lock().expect("no holder panics");
                Ok(local_buckets.refund(buckets, self.now_micros()))
            }
        };
        match levels {
            Ok(levels) => buckets.iter().zip(levels).for_each(|(bucket, level)| {
                count_decision(bucket.id.name, "refunded");
                request_limits.update_level(bucket, level);
            }),
            // The attempt stays counted until the bucket empties over time.
            Err(error) => tracing::debug!(error = %Chain(&error), "rate limit refund failed"),
        }
    }

    /// Counts and audits a rejected attempt.
    ///
    /// The audit event contains no user, because a rejection must not cost a query.
    fn report_rejection(&self, limits: &[&'static str], origin: Option<&Origin>) {
        for &limit in limits {
            count_decision(limit, "rejected");
            if let Some(origin) = origin {
                let event = origin.event(EventKind::RateLimited, Actor::Unauthenticated, None);
                self.audit.record_denied(event.with_reason(limit), origin);
            }
        }
    }

    /// Deletes the counters of failed attempts on a user. `names` are the username and the email
    /// address. Returns the number of counters.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn reset_account<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        user_id: Uuid,
    ) -> Result<u64, Error> {
        let mut accounts = vec![self.key.id(&user_id.to_string())];
        accounts.extend(names.map(|name| self.key.id(name)));
        self.redis.delete_account_counters(&accounts, user_id).await
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

/// Returns how the result of a task counts against the rate limits.
fn classify_result<T>(result: &Result<T, Error>) -> AttemptOutcome {
    match result {
        Ok(_) => AttemptOutcome::Succeeded,
        Err(error) if error.counts_as_attempt() => AttemptOutcome::Failed,
        Err(_) => AttemptOutcome::NotCounted,
    }
}

/// Counts allowed attempts, and sets the levels for the response headers. The limits that delay
/// have none, because they would disclose attempts of other clients on an account.
fn report_reservation(
    reservation: &BucketReservation,
    reserved: &BucketLevels,
    request_limits: &RequestLimits,
) {
    for (bucket, level) in reservation.buckets.iter().zip(&reserved.levels) {
        if reservation.kind == BucketKind::Blocking {
            request_limits.set_level(bucket, Some(*level));
        }
        if reserved.allowed {
            count_decision(bucket.id.name, "allowed");
        }
    }
}

fn count_decision(limit: &'static str, outcome: &'static str) {
    metrics::counter!("latchkey_rate_limit_decisions_total", "limit" => limit, "outcome" => outcome)
        .increment(1);
}
