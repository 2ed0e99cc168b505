//! Prevents replicas of an older version, whose keys don't contain the database ID, from using the
//! same Redis. Otherwise a sign-out at one version would not reach the other.
//!
//! Delete this module, its script, and `reject_older_replicas` in `log.lua` in the first release
//! after 0.1.0.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, atomic::Ordering},
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

static RETIRE_PREVIOUS_LAYOUT: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions(
        "retire_previous_layout",
        include_str!("scripts/retire_previous_layout.lua"),
    )
});

/// A member that hasn't renewed for this long holds no lease: the longest lease is 3 s, and clocks
/// can drift apart.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long replicas of an older version can't use this Redis after the last call, in milliseconds.
/// Then a rollback works.
const RETIREMENT_MS: &str = "10000";

/// Replicas of an older version use this Redis, or have used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OlderVersionError {
    /// They are running.
    #[error("replicas of an older version use this Redis; stop them")]
    InUse,
    /// They have used it after replicas of this version.
    #[error("replicas of an older version have used this Redis; stop all replicas, and empty it")]
    Mixed,
}

/// The result of the script.
enum Retirement {
    Retired,
    /// The members, and their text for the script.
    InUse(Vec<LogMember>, String),
    Mixed,
}

/// The members of the previous layout, each with its renewal counter and the time of its change.
#[derive(Default)]
pub(super) struct PreviousMembers(BTreeMap<Uuid, (u64, Instant)>);

impl PreviousMembers {
    /// Observes the members, and returns whether all of them have stopped.
    fn have_stopped(&mut self, members: &[LogMember], now: Instant) -> bool {
        self.0
            .retain(|id, _| members.iter().any(|member| member.id == *id));
        for member in members {
            let counter = member.renewal_counter;
            let observed = self.0.entry(member.id).or_insert((counter, now));
            if observed.0 != counter {
                *observed = (counter, now);
            }
        }
        let has_stopped = |(_, changed): &(u64, Instant)| now - *changed >= MEMBER_TIMEOUT;
        self.0.values().all(has_stopped)
    }
}

impl Redis {
    /// Prevents replicas of an older version from using this Redis for the next ten seconds.
    /// Returns `false` if the database ID is not known yet, so that no key can be used.
    ///
    /// # Errors
    /// `unavailable`, also while such replicas run.
    pub async fn retire_previous_layout(&self) -> Result<bool, Error> {
        if self.prefix.get().is_none() {
            return Ok(false);
        }
        let mut retirement = self.try_retire("").await?;
        if let Retirement::InUse(members, text) = &retirement
            && self.have_stopped(members)
        {
            retirement = self.try_retire(text).await?;
        }
        match retirement {
            Retirement::Retired => {
                self.has_usable_keys.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Retirement::InUse(..) => Err(Error::unavailable(OlderVersionError::InUse)),
            Retirement::Mixed => Err(Error::unavailable(OlderVersionError::Mixed)),
        }
    }

    fn have_stopped(&self, members: &[LogMember]) -> bool {
        let mut previous = self.previous_members.lock().expect("no holder panics");
        previous.have_stopped(members, Instant::now())
    }

    async fn try_retire(&self, stopped_members: &str) -> Result<Retirement, Error> {
        let key = |name: &str| format!("{}:{{rev}}:{name}", self.configured_prefix);
        let keys = [key("state"), key("log"), key("fence"), self.state_key()];
        let args = [RETIREMENT_MS.as_bytes(), stopped_members.as_bytes()];
        let result = self
            .shared
            .run_script(&RETIRE_PREVIOUS_LAYOUT, &keys, &args)
            .await?;
        parse(result).ok_or_else(|| RETIRE_PREVIOUS_LAYOUT.unknown_result())
    }
}

fn parse(result: Value) -> Option<Retirement> {
    let mut parts = Vec::<Value>::from_redis_value(result).ok()?.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "retired" => Some(Retirement::Retired),
        "mixed" => Some(Retirement::Mixed),
        "in_use" => {
            let members = parse_members(parts.next()?)?;
            let text = String::from_redis_value(parts.next()?).ok()?;
            Some(Retirement::InUse(members, text))
        }
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
