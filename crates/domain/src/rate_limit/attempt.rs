//! The decisions about one attempt: admit, delay, or reject it, and refund it if it doesn't count.
//!
//! An attempt is counted *before* its task, so that concurrent attempts can't exceed a limit. The
//! caller performs each decision and passes the result to the attempt.

use std::time::Duration;

use super::{Bucket, BucketLevels, MICROS_PER_SECOND};

/// The effect of full buckets on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketKind {
    /// A full bucket rejects the attempt.
    Blocking,
    /// A full bucket delays the attempt.
    Delaying,
}

/// The place of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketStore {
    /// Redis, which all replicas share.
    Redis,
    /// The memory of this replica.
    Local,
}

/// The buckets of one kind that count an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketReservation {
    /// The kind of all buckets.
    pub kind: BucketKind,
    /// The place of all buckets.
    pub store: BucketStore,
    /// The buckets. They have the same owner, so that Redis can count in all or none of them.
    pub buckets: Vec<Bucket>,
}

/// The next step of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptDecision {
    /// Count the attempt in these buckets: in all of them, or in none if one is full.
    Reserve(BucketReservation),
    /// Run the task of the attempt.
    Proceed,
    /// Run the task of the attempt later.
    Delay {
        /// The name of the full limit.
        limit: &'static str,
        /// The time to wait, at most two seconds.
        delay: Duration,
    },
    /// Reject the attempt.
    Reject {
        /// The names of the full limits.
        limits: Vec<&'static str>,
        /// The time until all limits allow an attempt, in seconds, at least 1.
        retry_after: u64,
    },
}

/// The outcome of the task of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The task succeeded.
    Succeeded,
    /// The task failed for a reason that counts, for example a wrong password.
    Failed,
    /// The task failed for another reason, for example an unavailable store or a malformed request.
    NotCounted,
}

/// The state machine of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    blocking: Vec<Bucket>,
    /// It counts only attempts that the blocking buckets allow, so that rejected attempts delay no
    /// other client.
    delaying: Option<Bucket>,
    counts_success: bool,
    /// The buckets that have counted the attempt.
    counted: Vec<BucketReservation>,
}

impl Attempt {
    /// Creates an attempt that counts only if it fails.
    ///
    /// The blocking buckets must have the same owner.
    pub fn counting_failures(blocking: Vec<Bucket>, delaying: Bucket) -> Attempt {
        Attempt {
            blocking,
            delaying: Some(delaying),
            counts_success: false,
            counted: Vec::new(),
        }
    }

    /// Creates an attempt that counts if it fails or succeeds.
    pub fn counting_all(blocking: Bucket) -> Attempt {
        Attempt {
            blocking: vec![blocking],
            delaying: None,
            counts_success: true,
            counted: Vec::new(),
        }
    }

    /// Returns the first decision.
    pub fn on_started(&mut self) -> AttemptDecision {
        AttemptDecision::Reserve(BucketReservation {
            kind: BucketKind::Blocking,
            store: BucketStore::Redis,
            buckets: std::mem::take(&mut self.blocking),
        })
    }

    /// Decides after the buckets of a reservation were examined.
    pub fn on_reserved(
        &mut self,
        reservation: BucketReservation,
        reserved: &BucketLevels,
    ) -> AttemptDecision {
        match (reservation.kind, reserved.allowed) {
            (BucketKind::Blocking, false) => reject(&reservation.buckets, &reserved.levels),
            (BucketKind::Delaying, false) => delay(&reservation.buckets, &reserved.levels),
            (BucketKind::Blocking | BucketKind::Delaying, true) => {
                self.counted.push(reservation);
                self.delaying
                    .take()
                    .map_or(AttemptDecision::Proceed, |bucket| {
                        AttemptDecision::Reserve(BucketReservation {
                            kind: BucketKind::Delaying,
                            store: BucketStore::Redis,
                            buckets: vec![bucket],
                        })
                    })
            }
        }
    }

    /// Decides after Redis did not respond: this replica counts alone, with the stricter limits.
    pub fn on_redis_unavailable(&self, reservation: BucketReservation) -> AttemptDecision {
        let to_stricter = |bucket: Bucket| Bucket {
            limit: bucket.limit.stricter(),
            ..bucket
        };
        AttemptDecision::Reserve(BucketReservation {
            kind: reservation.kind,
            store: BucketStore::Local,
            buckets: reservation.buckets.into_iter().map(to_stricter).collect(),
        })
    }

    /// Returns the reservations to refund after the task has finished.
    ///
    /// If the attempt counts, there are none.
    pub fn on_finished(self, outcome: AttemptOutcome) -> Vec<BucketReservation> {
        let is_counted = match outcome {
            AttemptOutcome::Succeeded => self.counts_success,
            AttemptOutcome::Failed => true,
            AttemptOutcome::NotCounted => false,
        };
        if is_counted { Vec::new() } else { self.counted }
    }
}

fn reject(buckets: &[Bucket], levels: &[u64]) -> AttemptDecision {
    let waits = buckets
        .iter()
        .zip(levels)
        .map(|(bucket, level)| (bucket.id.name, bucket.limit.retry_after(*level)))
        .filter(|(_, wait)| *wait > 0);
    let (limits, waits): (Vec<&'static str>, Vec<u64>) = waits.unzip();
    let longest_wait = waits.into_iter().max().unwrap_or_default();
    AttemptDecision::Reject {
        limits,
        retry_after: longest_wait.div_ceil(MICROS_PER_SECOND).max(1),
    }
}

fn delay(buckets: &[Bucket], levels: &[u64]) -> AttemptDecision {
    let delays = buckets
        .iter()
        .zip(levels)
        .map(|(bucket, level)| (bucket.limit.delay(*level), bucket.id.name));
    delays
        .max()
        .map_or(AttemptDecision::Proceed, |(delay, limit)| {
            AttemptDecision::Delay { limit, delay }
        })
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
