//! The members of the revocation log, as the scripts return them.

use deadpool_redis::redis::{FromRedisValue, Value};
use latchkey_domain::revocation::lease_renewer;
use uuid::Uuid;

/// A replica that can hold a lease.
pub type LogMember = lease_renewer::LogMember<Uuid>;

pub(crate) fn parse_members(members: Value) -> Option<Vec<LogMember>> {
    let members = Vec::<(String, u64, u64)>::from_redis_value(members).ok()?;
    let parse = |(id, acknowledged, renewal_counter): (String, _, _)| {
        Some(LogMember {
            id: id.parse().ok()?,
            acknowledged,
            renewal_counter,
        })
    };
    members.into_iter().map(parse).collect()
}
