//! What was taken back: appended to the log, and put on the denylist beside it.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use deadpool_redis::redis::{FromRedisValue, Value};
use latchkey_domain::revocation::{Entry, RevocationKeys, Subject, lease::AppendedEntry};
use uuid::Uuid;

use super::{Redis, bytes, script::Script};
use crate::error::Error;

static REVOKE: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("revoke", include_str!("scripts/revoke.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| {
    Script::of_log(
        "find_revocations",
        include_str!("scripts/find_revocations.lua"),
    )
});

/// Entries that are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEntries {
    /// The last of them, and who might not know it yet.
    pub appended: AppendedEntry<String, Uuid>,
    /// How long the leases under this epoch are.
    pub lease: Duration,
}

/// What became of revoking something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is in the log.
    Appended(PublishedEntries),
    /// There is no log that could be relied on.
    Lost,
    /// Redis forgets keys when its memory is full. There is no log, and no lease is renewed:
    /// PostgreSQL answers checks.
    EvictionEnabled,
}

/// What the denylist says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupOutcome {
    /// Nothing speaks against it.
    NotListed,
    /// The entry of this subject does.
    Listed(Subject),
    /// The log was lost: that an entry is missing says nothing.
    LogLost,
}

impl Redis {
    /// Appends entries, all or none.
    pub async fn revoke(&self, entries: &[Entry]) -> Result<AppendOutcome, Error> {
        let mut keys = vec![self.state_key(), self.log_key()];
        keys.extend(entries.iter().map(|entry| self.entry_key(&entry.subject)));
        let mut args = vec![self.channel()];
        entries.iter().for_each(|entry| args.extend(written(entry)));
        read(self.run(&REVOKE, &keys, &bytes(&args)).await?).ok_or_else(|| REVOKE.unknown_answer())
    }

    /// Everything that can speak against a token, in one round trip.
    pub async fn find_revocations(&self, marks: &RevocationKeys) -> Result<LookupOutcome, Error> {
        let subjects: Vec<Subject> = marks.subjects().collect();
        let mut keys = vec![self.state_key()];
        keys.extend(subjects.iter().map(|subject| self.entry_key(subject)));
        let found: Option<Vec<Option<i64>>> = self.run(&FIND, &keys, &[]).await?;
        let Some(found) = found else {
            return Ok(LookupOutcome::LogLost);
        };
        if found.len() != subjects.len() {
            return Err(FIND.unknown_answer());
        }
        let values: Vec<_> = subjects.into_iter().zip(found).collect();
        let value = |wanted: &Subject| {
            values
                .iter()
                .find(|(subject, _)| subject == wanted)
                .and_then(|(_, value)| *value)
        };
        Ok(marks
            .find_revoked_subject(value)
            .map_or(LookupOutcome::NotListed, LookupOutcome::Listed))
    }

    pub(super) fn state_key(&self) -> String {
        format!("{}:{{rev}}:state", self.prefix)
    }

    pub(super) fn log_key(&self) -> String {
        format!("{}:{{rev}}:log", self.prefix)
    }

    /// The channel of wake-up hints.
    pub(super) fn channel(&self) -> String {
        format!("{}:{{rev}}:notify", self.prefix)
    }

    pub(super) fn entry_key(&self, subject: &Subject) -> String {
        format!(
            "{}:{{rev}}:{}:{}",
            self.prefix,
            subject.kind(),
            subject.id()
        )
    }
}

/// Value, end and text, as the scripts want them.
pub(super) fn written(entry: &Entry) -> [String; 3] {
    [
        entry.state.value.to_string(),
        entry.state.ends_at.to_string(),
        entry.to_string(),
    ]
}

fn read(answer: Vec<Value>) -> Option<AppendOutcome> {
    let mut parts = answer.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "lost" => Some(AppendOutcome::Lost),
        "evicting" => Some(AppendOutcome::EvictionEnabled),
        "appended" => {
            let epoch = String::from_redis_value(parts.next()?).ok()?;
            let lease = u64::from_redis_value(parts.next()?).ok()?;
            let number = u64::from_redis_value(parts.next()?).ok()?;
            let members = crate::redis::revocation_log::read_members(parts.next()?)?;
            let members: BTreeSet<_> = members.into_iter().map(|member| member.id).collect();
            let appended = AppendedEntry {
                epoch,
                number,
                members,
            };
            Some(AppendOutcome::Appended(PublishedEntries {
                appended,
                lease: Duration::from_millis(lease),
            }))
        }
        _other => None,
    }
}
