//! The limits that one request counts against, for the `RateLimit` headers of its response.

use std::sync::{Arc, Mutex};

use latchkey_domain::rate_limit::{Bucket, Limit};

use crate::app::limits::rate_limits::MICROS_PER_SECOND;

/// What is left of the limits that a request counts against. Shared by the story, which knows, and
/// the face, which tells.
#[derive(Debug, Clone, Default)]
pub struct RequestLimits(Arc<Mutex<Vec<LimitStatus>>>);

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitStatus {
    /// Its name.
    pub name: &'static str,
    /// It.
    pub limit: Limit,
    /// What is left, where it was looked at.
    pub left: Option<RemainingQuota>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemainingQuota {
    /// Tries that would be allowed at this moment.
    pub attempts: u64,
    /// Seconds until all are allowed again.
    pub reset: u64,
}

impl RequestLimits {
    /// All that is known.
    pub fn statuses(&self) -> Vec<LimitStatus> {
        self.0
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// Notes how a bucket stands, in the place of what was known of it.
    pub(crate) fn note(&self, bucket: &Bucket, level: Option<u64>) {
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
        let mut statuses = self.0.lock().expect("nothing panics while it is held");
        match statuses.iter_mut().find(|known| known.name == id.name) {
            Some(known) => *known = status,
            None => statuses.push(status),
        }
    }

    /// The same after a refund, for those that are told: not what strangers did to an account.
    pub(crate) fn renew(&self, bucket: &Bucket, level: u64) {
        if self
            .statuses()
            .iter()
            .any(|known| known.name == bucket.id.name)
        {
            self.note(bucket, Some(level));
        }
    }
}
