//! The revocation log as its readers see it: becoming a member, renewing a lease, leaving; and
//! building it anew.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{FromRedisValue, Value};
use futures_util::StreamExt;
use latchkey_domain::revocation::Entry;
use uuid::Uuid;

use crate::{
    error::Error,
    redis::{Redis, bytes, failure, late, revocations::written, script::Script},
};

static JOIN: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("join_log", include_str!("scripts/join_log.lua")));
static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("renew_lease", include_str!("scripts/renew_lease.lua")));
static REMOVE: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("remove_member", include_str!("scripts/remove_member.lua")));
static BEGIN: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("begin_rebuild", include_str!("scripts/begin_rebuild.lua")));
static FILL: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("fill_rebuild", include_str!("scripts/fill_rebuild.lua")));
static FINISH: LazyLock<Script> =
    LazyLock::new(|| Script::of_log("finish_rebuild", include_str!("scripts/finish_rebuild.lua")));

/// Entries of one answer: some milliseconds of work, for Redis and for its reader.
const PAGE: &str = "1000";

/// How long entries stay in the log: longer than any of them matters.
const KEEP_MS: &str = "4200000";

/// Whoever is building has so long, and begins again if it was not enough.
const BUILDING_MS: &str = "600000";

/// What became of joining.
#[derive(Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// From here on, whoever revokes something waits for this replica.
    Joined {
        /// The epoch of the log.
        epoch: String,
        /// The number before that of its first entry.
        before: u64,
        /// How long leases are.
        lease: Duration,
    },
    /// There is no log that could be relied on.
    Lost,
    /// Redis forgets keys when its memory is full.
    EvictionEnabled,
}

/// What became of a renewal.
#[derive(Debug, PartialEq, Eq)]
pub enum RenewOutcome {
    /// What is in the log.
    Page(LogPage),
    /// The epoch is another, or there is no such member.
    EpochChanged,
    /// There is no log that could be relied on.
    Lost,
    /// Redis forgets keys when its memory is full.
    EvictionEnabled,
}

/// A part of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct LogPage {
    /// How long leases are.
    pub lease: Duration,
    /// The number of the last entry of the log.
    pub last: u64,
    /// Entries with their numbers, as they stand in the log.
    pub entries: Vec<(u64, String)>,
    /// Who may hold a lease.
    pub members: Vec<LogMember>,
}

/// Somebody who may hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMember {
    /// The process.
    pub id: Uuid,
    /// The number of the last entry that it has applied.
    pub applied: u64,
    /// When it renewed last, as a number that never comes again under an epoch.
    pub beat: u64,
}

/// What became of beginning a log.
#[derive(Debug, PartialEq, Eq)]
pub enum BeginOutcome {
    /// It is to be filled now, under this epoch.
    Begun(String),
    /// There is a good one already.
    AlreadyComplete,
    /// This server is not the master of its history.
    NotPrimary,
}

impl Redis {
    /// Becomes a member; without an id, only a reader.
    pub async fn join(&self, member: Option<Uuid>) -> Result<JoinOutcome, Error> {
        let answer = self
            .run_for_lease(&JOIN, &self.log_keys(), &[name(member)])
            .await?;
        read_joined(answer).ok_or_else(|| JOIN.unknown_answer())
    }

    /// Says how far the member has come, and tells what is in the log beyond that.
    pub async fn renew(
        &self,
        member: Option<Uuid>,
        epoch: &str,
        applied: u64,
    ) -> Result<RenewOutcome, Error> {
        let args = [
            name(member),
            epoch.into(),
            applied.to_string(),
            PAGE.into(),
            KEEP_MS.into(),
            self.channel(),
        ];
        let answer = self.run_for_lease(&RENEW, &self.log_keys(), &args).await?;
        read_renewed(answer).ok_or_else(|| RENEW.unknown_answer())
    }

    /// Leaves: from here on nobody waits for this replica, which has no lease any more.
    pub async fn leave(&self, member: Uuid) -> Result<(), Error> {
        self.remove(member, "", "").await.map(drop)
    }

    /// Removes a member that has not renewed since it was seen; whether it did.
    pub async fn reap(&self, member: &LogMember, epoch: &str) -> Result<bool, Error> {
        self.remove(member.id, epoch, &member.beat.to_string())
            .await
    }

    async fn remove(&self, member: Uuid, epoch: &str, beat: &str) -> Result<bool, Error> {
        let args = [
            name(Some(member)),
            epoch.into(),
            beat.into(),
            self.channel(),
        ];
        let gone: u8 = self
            .run(&REMOVE, &[self.state_key()], &bytes(&args))
            .await?;
        Ok(gone == 1)
    }

    /// Begins a new log; where there is a good one, only if that is the one to be replaced.
    pub async fn begin_log(&self, replaced: Option<&str>) -> Result<BeginOutcome, Error> {
        let args = [
            Uuid::new_v4().simple().to_string(),
            replaced.unwrap_or("").into(),
            BUILDING_MS.into(),
        ];
        let answer: Vec<String> = self
            .run(&BEGIN, &self.building_keys(), &bytes(&args))
            .await?;
        match (answer.first().map(String::as_str), answer.get(1)) {
            (Some("complete"), None) => Ok(BeginOutcome::AlreadyComplete),
            (Some("not_primary"), None) => Ok(BeginOutcome::NotPrimary),
            (Some("begun"), Some(epoch)) => Ok(BeginOutcome::Begun(epoch.clone())),
            _other => Err(BEGIN.unknown_answer()),
        }
    }

    /// Fills it; the last number, or nothing where it was for nothing.
    pub async fn fill_log(
        &self,
        epoch: &str,
        last: u64,
        entries: &[Entry],
    ) -> Result<Option<u64>, Error> {
        let [_, log, building] = self.building_keys();
        let mut keys = vec![building, log];
        keys.extend(entries.iter().map(|entry| self.entry_key(&entry.subject)));
        let mut args = vec![epoch.to_owned(), last.to_string()];
        entries.iter().for_each(|entry| args.extend(written(entry)));
        self.run(&FILL, &keys, &bytes(&args)).await
    }

    /// Puts it into force, with leases of this length; whether it was not for nothing.
    pub async fn finish_log(&self, epoch: &str, last: u64, lease: Duration) -> Result<bool, Error> {
        let args = [
            epoch.to_owned(),
            last.to_string(),
            lease.as_millis().to_string(),
            self.channel(),
        ];
        let done: u8 = self
            .run(&FINISH, &self.building_keys(), &bytes(&args))
            .await?;
        Ok(done == 1)
    }

    /// Calls for every word of the scripts until the connection breaks. What they say is a reason
    /// to look, never a fact.
    pub async fn listen(&self, mut hear: impl FnMut(LogNotification)) -> Result<(), Error> {
        let connect = async {
            let mut words = self.client.get_async_pubsub().await?;
            words.subscribe(self.channel()).await?;
            Ok(words)
        };
        let words = tokio::time::timeout(self.timeout, connect)
            .await
            .map_err(|_| late())?
            .map_err(failure)?;
        let mut words = words.into_on_message();
        while let Some(word) = words.next().await {
            hear(if word.get_payload_bytes() == b"acknowledged" {
                LogNotification::Acknowledged
            } else {
                LogNotification::AppendedEntry
            });
        }
        Err(Error::unavailable("Redis closed the connection"))
    }

    async fn run_for_lease<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[String],
    ) -> Result<T, Error> {
        let answer = self.leases.run(script, keys, &bytes(args)).await?;
        T::from_redis_value(answer).map_err(|_| script.unknown_answer())
    }

    fn log_keys(&self) -> [String; 2] {
        [self.state_key(), self.log_key()]
    }

    fn building_keys(&self) -> [String; 3] {
        [
            self.state_key(),
            self.log_key(),
            format!("{}:{{rev}}:fence", self.prefix),
        ]
    }
}

/// Why to look at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogNotification {
    /// Something was appended.
    AppendedEntry,
    /// A member has applied something.
    Acknowledged,
}

fn name(member: Option<Uuid>) -> String {
    member.map(|id| id.simple().to_string()).unwrap_or_default()
}

fn read_joined(answer: Vec<Value>) -> Option<JoinOutcome> {
    let mut parts = answer.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "lost" => Some(JoinOutcome::Lost),
        "evicting" => Some(JoinOutcome::EvictionEnabled),
        "joined" => {
            let epoch = String::from_redis_value(parts.next()?).ok()?;
            let lease = Duration::from_millis(u64::from_redis_value(parts.next()?).ok()?);
            Some(JoinOutcome::Joined {
                epoch,
                lease,
                before: u64::from_redis_value(parts.next()?).ok()?,
            })
        }
        _other => None,
    }
}

fn read_renewed(answer: Vec<Value>) -> Option<RenewOutcome> {
    let mut parts = answer.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "lost" => Some(RenewOutcome::Lost),
        "evicting" => Some(RenewOutcome::EvictionEnabled),
        "epoch_changed" => Some(RenewOutcome::EpochChanged),
        "page" => {
            let lease = Duration::from_millis(u64::from_redis_value(parts.next()?).ok()?);
            let last = u64::from_redis_value(parts.next()?).ok()?;
            let entries = Vec::<(u64, String)>::from_redis_value(parts.next()?).ok()?;
            Some(RenewOutcome::Page(LogPage {
                lease,
                last,
                entries,
                members: read_members(parts.next()?)?,
            }))
        }
        _other => None,
    }
}

pub(crate) fn read_members(list: Value) -> Option<Vec<LogMember>> {
    let list = Vec::<(String, u64, u64)>::from_redis_value(list).ok()?;
    let member = |(id, applied, beat): (String, _, _)| {
        Some(LogMember {
            id: id.parse().ok()?,
            applied,
            beat,
        })
    };
    list.into_iter().map(member).collect()
}
