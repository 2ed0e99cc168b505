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

use std::sync::{Arc, Mutex};

pub use crate::app::limits::local_buckets::Memory;
use futures_util::future::join_all;
use latchkey_domain::{
    audit::{Actor, Kind},
    one_time_code::Purpose,
    rate_limit::{Bucket, BucketId, Limit, Reserved},
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::{Chain, Error},
};

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// What one try is counted in.
pub(crate) struct Attempt {
    /// Of one owner: all of them must allow it.
    hard: Vec<Bucket>,
    /// Asked once those have allowed it, so that what is refused slows nobody.
    soft: Option<Bucket>,
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
            Err(error) => error.is_a_try(),
        }
    }
}

/// Where a try was counted.
struct Held {
    buckets: Vec<Bucket>,
    shared: bool,
}

/// What is left of the limits that a request counts against. Shared by the story, which knows, and
/// the face, which tells.
#[derive(Debug, Clone, Default)]
pub struct Allowance(Arc<Mutex<Vec<Standing>>>);

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: &'static str,
    /// It.
    pub limit: Limit,
    /// What is left, where it was looked at.
    pub left: Option<Left>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Tries that would be allowed at this moment.
    pub tries: u64,
    /// Seconds until all are allowed again.
    pub reset: u64,
}

impl Allowance {
    /// All that is known.
    pub fn standings(&self) -> Vec<Standing> {
        self.0
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// Notes how a bucket stands, in the place of what was known of it.
    fn note(&self, bucket: &Bucket, level: Option<u64>) {
        let Bucket { id, limit } = *bucket;
        let left = level.map(|level| Left {
            tries: limit.remaining(level),
            reset: level.div_ceil(SECOND),
        });
        let standing = Standing {
            name: id.name,
            limit,
            left,
        };
        let mut standings = self.0.lock().expect("nothing panics while it is held");
        match standings.iter_mut().find(|known| known.name == id.name) {
            Some(known) => *known = standing,
            None => standings.push(standing),
        }
    }

    /// The same after a refund, for those that are told: not what strangers did to an account.
    fn renew(&self, bucket: &Bucket, level: u64) {
        if self
            .standings()
            .iter()
            .any(|known| known.name == bucket.id.name)
        {
            self.note(bucket, Some(level));
        }
    }
}

impl Gateway {
    /// A password for an account, as it was named.
    pub(crate) fn sign_in_attempt(&self, account: &str, origin: &Origin) -> Attempt {
        let (network, account) = (self.network_id(origin), self.throttle_key.id(account));
        let pair = bucket("sign_in", network, self.config.limit_sign_in);
        Attempt {
            hard: vec![
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
            soft: Some(bucket(
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
            self.throttle_key.id(email),
            self.config.limit_code_account,
        );
        Attempt {
            hard: vec![network],
            soft: Some(account),
            success_counts: false,
            origin: Some(origin.clone()),
        }
    }

    /// A new account.
    pub(crate) fn sign_up_attempt(&self, origin: &Origin) -> Attempt {
        every_try(
            bucket(
                "sign_up",
                self.network_id(origin),
                self.config.limit_sign_up,
            ),
            Some(origin),
        )
    }

    /// A request for a code.
    pub(crate) fn forgot_attempt(&self, origin: &Origin) -> Attempt {
        every_try(
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
    pub(crate) async fn counted<T>(
        &self,
        attempt: Attempt,
        allowance: &Allowance,
        story: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.config.rate_limits.0 {
            return story.await;
        }
        let held = self.admit(&attempt, allowance).await?;
        let outcome = story.await;
        if !attempt.counts(&outcome) {
            // In one round trip, not one after the other.
            join_all(held.iter().map(|held| self.refund(held, allowance))).await;
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
    pub(crate) async fn mail_budget(
        &self,
        purpose: Purpose,
        recipient: &str,
        promise: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let owner = self
            .throttle_key
            .id(&format!("{} {recipient}", purpose.as_str()));
        let budget = every_try(bucket("email", owner, self.config.limit_email), None);
        match self.counted(budget, &Allowance::default(), promise).await {
            Err(Error::TooManyRequests { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Counts a refresh that failed, and only that: a good token is never refused, and costs
    /// nothing.
    ///
    /// # Errors
    /// `too_many_requests` in the place of a refusal, beyond the limit; else those of the refresh.
    pub(crate) async fn count_failed_refresh<T>(
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
        origin.allowance.note(&bucket, None);
        match outcome {
            Err(error @ (Error::InvalidRefreshToken | Error::RefreshTokenReused)) => {
                // Rare, and large: no refresh needs to have room for it.
                let admitted =
                    Box::pin(self.admit(&every_try(bucket, Some(origin)), &origin.allowance)).await;
                Err(admitted.err().unwrap_or(error))
            }
            other => other,
        }
    }

    async fn admit(&self, attempt: &Attempt, allowance: &Allowance) -> Result<Vec<Held>, Error> {
        let (hard, Reserved { allowed, levels }) = self.reserve(attempt.hard.clone()).await;
        let known: Vec<_> = hard.buckets.iter().zip(levels).collect();
        known
            .iter()
            .for_each(|(bucket, level)| allowance.note(bucket, Some(*level)));
        if !allowed {
            return Err(self.refusal(&known, attempt.origin.as_ref()));
        }
        known
            .iter()
            .for_each(|(bucket, _)| count(bucket, "allowed"));
        let soft = match attempt.soft {
            Some(soft) => self.wait_for(soft).await,
            None => None,
        };
        Ok([Some(hard), soft].into_iter().flatten().collect())
    }

    /// Where there is no room the try is not counted, but waits.
    async fn wait_for(&self, soft: Bucket) -> Option<Held> {
        let (held, Reserved { allowed, levels }) = self.reserve(vec![soft]).await;
        count(&soft, if allowed { "allowed" } else { "delayed" });
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
    async fn reserve(&self, mut buckets: Vec<Bucket>) -> (Held, Reserved) {
        match self.speed.reserve_try(&buckets).await {
            Ok(reserved) => (
                Held {
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
                let reserved = self.memory.reserve(&buckets, self.now_micros());
                (
                    Held {
                        buckets,
                        shared: false,
                    },
                    reserved,
                )
            }
        }
    }

    async fn refund(&self, held: &Held, allowance: &Allowance) {
        let levels = if held.shared {
            self.speed.refund_try(&held.buckets).await
        } else {
            Ok(self.memory.refund(&held.buckets, self.now_micros()))
        };
        match levels {
            Ok(levels) => held.buckets.iter().zip(levels).for_each(|(bucket, level)| {
                count(bucket, "refunded");
                allowance.renew(bucket, level);
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
                let event = origin.event(Kind::Throttled, Actor::Stranger, None);
                self.refuse(event.because(bucket.id.name), origin);
            }
        }
        let wait = known
            .iter()
            .map(|(bucket, level)| bucket.limit.retry_after(*level))
            .max()
            .unwrap_or_default();
        Error::TooManyRequests {
            retry_after: wait.div_ceil(SECOND).max(1),
        }
    }

    pub(crate) fn network_id(&self, origin: &Origin) -> Uuid {
        self.throttle_key.id(&origin.network())
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

fn every_try(bucket: Bucket, origin: Option<&Origin>) -> Attempt {
    Attempt {
        hard: vec![bucket],
        soft: None,
        success_counts: true,
        origin: origin.cloned(),
    }
}

fn count(bucket: &Bucket, outcome: &'static str) {
    metrics::counter!("latchkey_rate_limit_decisions_total", "limit" => bucket.id.name, "outcome" => outcome)
        .increment(1);
}
