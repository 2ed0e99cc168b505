//! Collects the rate limits of one request for the `RateLimit` headers of its response.

use std::sync::{Arc, Mutex};

use latchkey_domain::rate_limit::{Bucket, MICROS_PER_SECOND, RateLimit};

/// The rate limits that a request counts against. The use case sets them, and the HTTP layer
/// writes them to headers.
#[derive(Debug, Clone, Default)]
pub struct RequestLimits(Arc<Mutex<Vec<LimitStatus>>>);

/// The status of one rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitStatus {
    pub name: &'static str,
    pub limit: RateLimit,
    /// The remaining quota; `None` if the bucket was not read.
    pub left: Option<RemainingQuota>,
}

/// The remaining quota of one rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemainingQuota {
    /// Attempts that are allowed now.
    pub attempts: u64,
    /// Seconds until the full quota is available.
    pub reset: u64,
}

impl RequestLimits {
    pub fn statuses(&self) -> Vec<LimitStatus> {
        self.0.lock().expect("no holder panics").clone()
    }

    /// Sets the status of a limit from the level of its bucket. `None` means that the bucket was
    /// not read.
    pub(crate) fn set_level(&self, bucket: &Bucket, level: Option<u64>) {
        let Bucket { id, limit } = *bucket;
        let left = level.map(|level| RemainingQuota {
            attempts: limit.remaining(level),
            reset: level.div_ceil(MICROS_PER_SECOND),
        });
        let status = LimitStatus {
            name: id.name,
            limit,
            left,
        };
        let mut statuses = self.0.lock().expect("no holder panics");
        match statuses.iter_mut().find(|other| other.name == id.name) {
            Some(other) => *other = status,
            None => statuses.push(status),
        }
    }

    /// Updates a limit after a refund, if the request has a status for it. The limits that delay
    /// attempts have none, because they would disclose attempts of other clients on an account.
    pub(crate) fn update_level(&self, bucket: &Bucket, level: u64) {
        if self
            .statuses()
            .iter()
            .any(|status| status.name == bucket.id.name)
        {
            self.set_level(bucket, Some(level));
        }
    }
}
