//! Prevents that replicas of the previous version, whose keys don't contain the ID of the database,
//! use the same Redis at the same time.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{FromRedisValue, Value};
use uuid::Uuid;

use super::{
    Redis,
    members::{LogMember, parse_members},
    script::Script,
};
use crate::error::Error;

static RETIRE_PREVIOUS_VERSION: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions(
        "retire_previous_version",
        include_str!("scripts/retire_previous_version.lua"),
    )
});

/// A member that hasn't renewed for this long holds no lease: the longest lease is 3 s, and clocks
/// can drift apart.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long replicas of the previous version are prevented from using this Redis after the last
/// replica of this version has stopped, in milliseconds. Then a rollback works.
const RETIREMENT_MS: &str = "10000";

/// A replica of the previous version is running.
#[derive(Debug, thiserror::Error)]
#[error("replicas of an older version use this Redis; stop them")]
pub(super) struct PreviousVersionInUse;

/// The members of the previous version, each with its renewal counter and the time of its change.
#[derive(Default)]
pub(super) struct PreviousMembers(BTreeMap<Uuid, (u64, Instant)>);

impl PreviousMembers {
    /// Observes the members, and returns whether all of them have stopped.
    fn have_stopped(&mut self, members: &[LogMember], now: Instant) -> bool {
        self.0
            .retain(|id, _| members.iter().any(|member| member.id == *id));
        for member in members {
            let observed = self
                .0
                .entry(member.id)
                .or_insert((member.renewal_counter, now));
            if observed.0 != member.renewal_counter {
                *observed = (member.renewal_counter, now);
            }
        }
        let has_stopped = |(_, changed): &(u64, Instant)| now - *changed >= MEMBER_TIMEOUT;
        self.0.values().all(has_stopped)
    }
}

impl Redis {
    /// Prevents replicas of the previous version from using this Redis. It must be repeated while
    /// this version runs.
    ///
    /// # Errors
    /// While they have members, except members that have stopped without leaving.
    pub(super) async fn retire_previous_version(&self) -> Result<(), Error> {
        let Some(members) = self.try_retire(false).await? else {
            return Ok(());
        };
        let have_stopped = {
            let mut previous = self.previous_members.lock().expect("no holder panics");
            previous.have_stopped(&members, Instant::now())
        };
        if have_stopped && self.try_retire(true).await?.is_none() {
            return Ok(());
        }
        Err(Error::unavailable(PreviousVersionInUse))
    }

    /// Returns the members if there are any.
    async fn try_retire(&self, have_stopped: bool) -> Result<Option<Vec<LogMember>>, Error> {
        let [state, log] = self.previous_log_keys();
        let has_stopped: &[u8] = if have_stopped { b"1" } else { b"" };
        let args = [RETIREMENT_MS.as_bytes(), has_stopped];
        let result = self
            .shared
            .run_script(&RETIRE_PREVIOUS_VERSION, &[state, log], &args)
            .await?;
        parse(result).ok_or_else(|| RETIRE_PREVIOUS_VERSION.unknown_result())
    }

    /// The state and the log of the previous version.
    pub(super) fn previous_log_keys(&self) -> [String; 2] {
        ["state", "log"].map(|name| format!("{}:{{rev}}:{name}", self.configured_prefix))
    }
}

fn parse(result: Value) -> Option<Option<Vec<LogMember>>> {
    let mut parts = Vec::<Value>::from_redis_value(result).ok()?.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "retired" => Some(None),
        "in_use" => Some(Some(parse_members(parts.next()?)?)),
        _other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_has_stopped_after_four_seconds_without_renewal() {
        let mut previous = PreviousMembers::default();
        let start = Instant::now();
        let mut observe = |renewal_counter, milliseconds| {
            let member = LogMember {
                id: Uuid::nil(),
                acknowledged: 1,
                renewal_counter,
            };
            let now = start + Duration::from_millis(milliseconds);
            previous.have_stopped(&[member], now)
        };
        assert!(!observe(1, 0));
        assert!(!observe(1, 3_999));
        assert!(!observe(2, 4_000), "it has renewed");
        assert!(!observe(2, 7_999));
        assert!(observe(2, 8_000));
    }

    #[test]
    fn member_that_left_is_not_waited_for() {
        let mut previous = PreviousMembers::default();
        assert!(previous.have_stopped(&[], Instant::now()));
    }
}
