//! Revocations: appended to the log, and looked up in the denylist.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use deadpool_redis::redis::{FromRedisValue, Value};
use latchkey_domain::revocation::{Entry, RevocationKeys, Subject, lease::AppendedEntry};
use uuid::Uuid;

use super::{Redis, script::Script, to_byte_args};
use crate::error::Error;

static APPEND_ENTRIES: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("append_entries", include_str!("scripts/append_entries.lua"))
});
static FIND_REVOCATIONS: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions(
        "find_revocations",
        include_str!("scripts/find_revocations.lua"),
    )
});

/// The position of published entries in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEntries {
    /// The last entry, and the members that must acknowledge it.
    pub appended: AppendedEntry<String, Uuid>,
    /// The lease length of this epoch.
    pub lease: Duration,
}

/// The result of appending entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The log contains the entries.
    Appended(PublishedEntries),
    /// There is no valid log.
    Lost,
    /// Redis evicts keys when its memory is full. There is no valid log and no lease is renewed, so
    /// PostgreSQL serves all checks.
    EvictionEnabled,
}

/// The result of a denylist lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupOutcome {
    /// No entry revokes the token.
    NotListed,
    /// The entry of this subject revokes the token.
    Listed(Subject),
    /// There is no valid log, so a missing entry proves nothing.
    LogLost,
}

impl Redis {
    /// Appends entries to the log and writes their denylist keys: all of them or none.
    pub async fn append_entries(&self, entries: &[Entry]) -> Result<AppendOutcome, Error> {
        let mut keys = vec![self.state_key(), self.log_key()];
        keys.extend(entries.iter().map(|entry| self.entry_key(&entry.subject)));
        let mut args = vec![self.channel()];
        entries
            .iter()
            .for_each(|entry| args.extend(entry_args(entry)));
        let result = self
            .run(&APPEND_ENTRIES, &keys, &to_byte_args(&args))
            .await?;
        parse_append_result(result).ok_or_else(|| APPEND_ENTRIES.unknown_result())
    }

    /// Looks up all revocation keys of a token in one round trip.
    pub async fn find_revocations(
        &self,
        revocation_keys: &RevocationKeys,
    ) -> Result<LookupOutcome, Error> {
        let subjects: Vec<Subject> = revocation_keys.subjects().collect();
        let mut keys = vec![self.state_key()];
        keys.extend(subjects.iter().map(|subject| self.entry_key(subject)));
        let found: Option<Vec<Option<i64>>> = self.run(&FIND_REVOCATIONS, &keys, &[]).await?;
        let Some(found) = found else {
            return Ok(LookupOutcome::LogLost);
        };
        if found.len() != subjects.len() {
            return Err(FIND_REVOCATIONS.unknown_result());
        }
        let values: Vec<_> = subjects.into_iter().zip(found).collect();
        let value_of = |wanted: &Subject| {
            values
                .iter()
                .find(|(subject, _)| subject == wanted)
                .and_then(|(_, value)| *value)
        };
        Ok(revocation_keys
            .find_revoked_subject(value_of)
            .map_or(LookupOutcome::NotListed, LookupOutcome::Listed))
    }

    pub(super) fn state_key(&self) -> String {
        format!("{}:{{rev}}:state", self.prefix())
    }

    pub(super) fn log_key(&self) -> String {
        format!("{}:{{rev}}:log", self.prefix())
    }

    /// The channel of notifications.
    pub(super) fn channel(&self) -> String {
        format!("{}:{{rev}}:notify", self.prefix())
    }

    pub(super) fn entry_key(&self, subject: &Subject) -> String {
        format!(
            "{}:{{rev}}:{}:{}",
            self.prefix(),
            subject.kind(),
            subject.id()
        )
    }
}

/// Returns the script arguments of an entry: value, expiry (s since the Unix epoch), and text.
pub(super) fn entry_args(entry: &Entry) -> [String; 3] {
    [
        entry.state.value.to_string(),
        entry.state.expires_at.to_string(),
        entry.to_string(),
    ]
}

fn parse_append_result(result: Vec<Value>) -> Option<AppendOutcome> {
    let mut parts = result.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "lost" => Some(AppendOutcome::Lost),
        "evicting" => Some(AppendOutcome::EvictionEnabled),
        "appended" => {
            let epoch = String::from_redis_value(parts.next()?).ok()?;
            let lease = u64::from_redis_value(parts.next()?).ok()?;
            let number = u64::from_redis_value(parts.next()?).ok()?;
            let members = crate::redis::members::parse_members(parts.next()?)?;
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
