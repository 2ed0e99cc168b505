//! The members of the revocation log, as the scripts return them.

use deadpool_redis::redis::{FromRedisValue, Value};
use uuid::Uuid;

/// A replica that can hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMember {
    /// The ID of the process.
    pub id: Uuid,
    /// The acknowledged position: the sequence number of the last applied entry.
    pub applied: u64,
    /// The renewal counter at the last renewal, which never repeats within an epoch.
    pub renewal_counter: u64,
}

pub(crate) fn parse_members(members: Value) -> Option<Vec<LogMember>> {
    let members = Vec::<(String, u64, u64)>::from_redis_value(members).ok()?;
    let parse = |(id, acknowledged, renewal_counter): (String, _, _)| {
        Some(LogMember {
            id: id.parse().ok()?,
            applied: acknowledged,
            renewal_counter,
        })
    };
    members.into_iter().map(parse).collect()
}
