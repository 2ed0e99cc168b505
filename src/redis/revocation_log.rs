//! Scripts of the revocation log for its members (join, renew, leave) and for the rebuilder.

use crate::{
    error::Error,
    redis::{
        Redis,
        connect_error::RedisConnectError,
        members::{LogMember, parse_members},
        revocations::entry_args,
        script::Script,
        to_byte_args,
    },
};
use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{FromRedisValue, RedisError, Value};
use futures_util::StreamExt;
use latchkey_domain::revocation::{Entry, lease::LogPosition, lease_renewer};
use uuid::Uuid;

static JOIN_LOG: LazyLock<Script> =
    LazyLock::new(|| Script::with_log_functions("join_log", include_str!("scripts/join_log.lua")));
static RENEW_LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("renew_lease", include_str!("scripts/renew_lease.lua"))
});
static REMOVE_MEMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("remove_member", include_str!("scripts/remove_member.lua"))
});
static BEGIN_REBUILD: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("begin_rebuild", include_str!("scripts/begin_rebuild.lua"))
});
static FILL_REBUILD: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("fill_rebuild", include_str!("scripts/fill_rebuild.lua"))
});
static FINISH_REBUILD: LazyLock<Script> = LazyLock::new(|| {
    Script::with_log_functions("finish_rebuild", include_str!("scripts/finish_rebuild.lua"))
});

/// Maximum number of entries per response. A page takes Redis and the reader a few milliseconds.
const PAGE_SIZE: &str = "1000";

/// Retention of log entries in milliseconds. It exceeds the lifetime of every entry.
const ENTRY_RETENTION_MS: &str = "4200000";

/// Lifetime of a rebuilder's fence in milliseconds. A rebuild that takes longer starts again.
const FENCE_LIFETIME_MS: &str = "600000";

/// The result of joining the log.
pub type JoinOutcome = lease_renewer::JoinOutcome<String>;

/// The result of a lease renewal.
pub type RenewOutcome = lease_renewer::RenewOutcome<Uuid>;

/// A page of log entries, read in one step with the state of the log.
pub type LogPage = lease_renewer::LogPage<Uuid>;

/// The result of beginning a rebuild.
#[derive(Debug, PartialEq, Eq)]
pub enum BeginOutcome {
    /// The log can be filled, under this epoch.
    Begun(String),
    /// There is a valid log.
    AlreadyComplete,
}

impl Redis {
    /// Joins the log as a member. Without an ID, the caller is a reader that never holds a lease.
    pub async fn join(&self, member: Option<Uuid>) -> Result<JoinOutcome, Error> {
        let result = self
            .run_for_lease(&JOIN_LOG, &self.log_keys(), &[format_member(member)])
            .await?;
        parse_join_result(result).ok_or_else(|| JOIN_LOG.unknown_result())
    }

    /// Renews a lease: stores the acknowledged position, and returns the entries after it.
    pub async fn renew(
        &self,
        member: Option<Uuid>,
        epoch: &str,
        acknowledged: u64,
    ) -> Result<RenewOutcome, Error> {
        let args = [
            format_member(member),
            epoch.into(),
            acknowledged.to_string(),
            PAGE_SIZE.into(),
            ENTRY_RETENTION_MS.into(),
            self.channel(),
        ];
        let result = self
            .run_for_lease(&RENEW_LEASE, &self.log_keys(), &args)
            .await?;
        parse_renew_result(result).ok_or_else(|| RENEW_LEASE.unknown_result())
    }

    /// Deregisters a member, which must have dropped its lease. No revocation waits for it from
    /// then on.
    pub async fn leave(&self, member: Uuid) -> Result<(), Error> {
        self.remove_member(member, "", "").await.map(drop)
    }

    /// Removes a member that has not renewed its lease since its renewal counter was read. Returns
    /// whether it was removed.
    pub async fn reap(&self, member: &LogMember, epoch: &str) -> Result<bool, Error> {
        self.remove_member(member.id, epoch, &member.renewal_counter.to_string())
            .await
    }

    async fn remove_member(
        &self,
        member: Uuid,
        epoch: &str,
        renewal_counter: &str,
    ) -> Result<bool, Error> {
        let args = [
            format_member(Some(member)),
            epoch.into(),
            renewal_counter.into(),
            self.channel(),
        ];
        let removed: u8 = self
            .run(&REMOVE_MEMBER, &[self.state_key()], &to_byte_args(&args))
            .await?;
        Ok(removed == 1)
    }

    /// Begins a rebuild. An existing valid log is deleted only if its epoch is `replaced_epoch`.
    pub async fn begin_rebuild(&self, replaced_epoch: Option<&str>) -> Result<BeginOutcome, Error> {
        let args = [
            Uuid::new_v4().simple().to_string(),
            replaced_epoch.unwrap_or("").into(),
            FENCE_LIFETIME_MS.into(),
        ];
        let result: Vec<String> = self
            .run(&BEGIN_REBUILD, &self.rebuild_keys(), &to_byte_args(&args))
            .await?;
        match (result.first().map(String::as_str), result.get(1)) {
            (Some("complete"), None) => Ok(BeginOutcome::AlreadyComplete),
            (Some("begun"), Some(epoch)) => Ok(BeginOutcome::Begun(epoch.clone())),
            _other => Err(BEGIN_REBUILD.unknown_result()),
        }
    }

    /// Adds entries to the log that is being rebuilt, and returns its last sequence number. Returns
    /// `None` if the rebuild must start again.
    pub async fn fill_rebuild(
        &self,
        epoch: &str,
        last: u64,
        entries: &[Entry],
    ) -> Result<Option<u64>, Error> {
        let [_, log, fence] = self.rebuild_keys();
        let mut keys = vec![fence, log];
        keys.extend(entries.iter().map(|entry| self.entry_key(&entry.subject)));
        let mut args = vec![epoch.to_owned(), last.to_string()];
        entries
            .iter()
            .for_each(|entry| args.extend(entry_args(entry)));
        self.run(&FILL_REBUILD, &keys, &to_byte_args(&args)).await
    }

    /// Activates the rebuilt log with this lease length. Returns `false` if the rebuild must start
    /// again.
    pub async fn finish_rebuild(
        &self,
        epoch: &str,
        last: u64,
        lease: Duration,
    ) -> Result<bool, Error> {
        let args = [
            epoch.to_owned(),
            last.to_string(),
            lease.as_millis().to_string(),
            self.channel(),
        ];
        let done: u8 = self
            .run(&FINISH_REBUILD, &self.rebuild_keys(), &to_byte_args(&args))
            .await?;
        Ok(done == 1)
    }

    /// Subscribes to notifications of the scripts, and passes each to the callback until the
    /// connection breaks.
    ///
    /// A notification is only a hint to read the log: it can be lost, and any Redis client can send
    /// one.
    pub async fn listen(
        &self,
        mut on_notification: impl FnMut(LogNotification),
    ) -> Result<(), Error> {
        self.require_usable_keys().await?;
        let subscribe = async {
            let (client, version) = self.primary.client();
            let subscription = client.get_async_pubsub().await;
            let mut subscription =
                subscription.inspect_err(|error| self.primary.refresh_url_after(error, version))?;
            subscription.subscribe(self.channel()).await?;
            Ok::<_, RedisError>(subscription)
        };
        let generation = self.primary.generation();
        let subscription = tokio::time::timeout(self.primary.connect_timeout(), subscribe)
            .await
            .map_err(|_| Error::unavailable(RedisConnectError::TimedOut))?
            .map_err(Error::unavailable)?;
        let mut messages = subscription.into_on_message();
        let mut ended = std::pin::pin!(self.primary.wait_for_end(generation));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = &mut ended => return Err(Error::unavailable("the connections to Redis are replaced")),
            };
            let Some(message) = message else {
                return Err(Error::unavailable("Redis closed the connection"));
            };
            on_notification(if message.get_payload_bytes() == b"acknowledged" {
                LogNotification::Acknowledged
            } else {
                LogNotification::AppendedEntry
            });
        }
    }

    async fn run_for_lease<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[String],
    ) -> Result<T, Error> {
        self.require_usable_keys().await?;
        let result = self
            .leases
            .run_script(script, keys, &to_byte_args(args))
            .await?;
        T::from_redis_value(result).map_err(|_| script.unknown_result())
    }

    fn log_keys(&self) -> [String; 2] {
        [self.state_key(), self.log_key()]
    }

    fn rebuild_keys(&self) -> [String; 3] {
        [
            self.state_key(),
            self.log_key(),
            format!("{}:{{rev}}:fence", self.prefix()),
        ]
    }
}

/// A reason to renew the lease before it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogNotification {
    /// Entries were appended.
    AppendedEntry,
    /// A member has acknowledged entries, or was removed.
    Acknowledged,
}

fn format_member(member: Option<Uuid>) -> String {
    member.map(|id| id.simple().to_string()).unwrap_or_default()
}

fn parse_join_result(result: Vec<Value>) -> Option<JoinOutcome> {
    let mut parts = result.into_iter();
    match String::from_redis_value(parts.next()?).ok()?.as_str() {
        "lost" => Some(JoinOutcome::Lost),
        "evicting" => Some(JoinOutcome::EvictionEnabled),
        "joined" => {
            let epoch = String::from_redis_value(parts.next()?).ok()?;
            let lease = Duration::from_millis(u64::from_redis_value(parts.next()?).ok()?);
            let applied = u64::from_redis_value(parts.next()?).ok()?;
            Some(JoinOutcome::Joined {
                before: LogPosition { epoch, applied },
                lease,
            })
        }
        _other => None,
    }
}

fn parse_renew_result(result: Vec<Value>) -> Option<RenewOutcome> {
    let mut parts = result.into_iter();
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
                entries: entries
                    .into_iter()
                    .map(|(number, text)| (number, text.parse()))
                    .collect(),
                members: parse_members(parts.next()?)?,
            }))
        }
        _other => None,
    }
}
