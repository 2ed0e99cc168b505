//! The lease worker: renews the lease of this replica, and applies new log entries. It renews five
//! times per lease, or immediately when an entry was appended. A renewal acknowledges the applied
//! entries and returns the following ones.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use latchkey_domain::revocation::{
    Entry,
    lease::{
        AcknowledgedPositions, BootTime, LogHealth, LogPosition, Renewal, accept_renewal, can_reap,
        lease_end,
    },
};
use tokio::time::{timeout, timeout_at};
use uuid::Uuid;

use super::Revocations;
use crate::{
    app::clock,
    error::{Chain, Error},
    redis::{JoinOutcome, LogMember, LogNotification, LogPage, RenewOutcome},
};

/// Renewals per lease, so that the lease survives a few failed renewals.
const RENEWALS_PER_LEASE: u32 = 5;

/// The delay until the next attempt if Redis has no epoch or doesn't respond.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The delay until the next attempt if this version can't read the log.
const VERSION_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The delay until the next attempt to subscribe.
const RESUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// The longest time that a drain waits until this replica has left the members.
const DEREGISTER_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of the lease worker.
struct LeaseWorker {
    revocations: Arc<Revocations>,
    /// The last applied entry; `None` if the log must be read from its beginning.
    position: Option<LogPosition<String>>,
    /// The renewal counter of each other member, and the time at which it was first seen.
    renewals: HashMap<Uuid, (u64, BootTime)>,
    logged_health: Option<LogHealth>,
    logged_rebuild_error: Option<String>,
}

impl Revocations {
    /// Renews the lease until the process exits.
    pub(crate) async fn run_lease_worker(self: Arc<Self>) {
        let mut worker = LeaseWorker {
            revocations: self.clone(),
            position: None,
            renewals: HashMap::new(),
            logged_health: None,
            logged_rebuild_error: None,
        };
        while !self.is_leaving() {
            let began = Instant::now();
            let next = began + worker.renew_once().await;
            let _ = timeout_at(next.into(), self.renewal_ready.notified()).await;
        }
        worker.leave().await;
        self.left.notify_one();
        std::future::pending().await
    }

    /// Subscribes to notifications that trigger a renewal, until the process exits. Without them,
    /// revocations take longer, up to the drain period.
    pub(crate) async fn run_subscription_worker(self: Arc<Self>) {
        loop {
            let on_notification = |notification| {
                let is_waiting = self.waiting.load(Ordering::Relaxed) > 0;
                if notification == LogNotification::AppendedEntry || is_waiting {
                    self.renewal_ready.notify_one();
                }
            };
            if let Err(error) = self.redis.listen(on_notification).await {
                tracing::debug!(error = %Chain(&error), "revocation subscription failed");
            }
            tokio::time::sleep(RESUBSCRIBE_DELAY).await;
        }
    }

    /// Relinquishes the lease, then leaves the members, so that no revocation waits for this
    /// replica.
    pub(crate) async fn relinquish_lease(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.renewal_ready.notify_one();
        let _ = timeout(DEREGISTER_TIMEOUT, self.left.notified()).await;
    }
}

impl LeaseWorker {
    /// Renews once. Returns the time from the start of this renewal to the next.
    async fn renew_once(&mut self) -> Duration {
        let outcome = self.follow_log().await;
        let health = *outcome.as_ref().unwrap_or(&LogHealth::Unreachable);
        self.revocations.set_log_health(health);
        self.log_change(health, outcome.err());
        match health {
            LogHealth::Complete => self
                .revocations
                .current_lease()
                .map_or(RETRY_DELAY, |lease| lease / RENEWALS_PER_LEASE),
            LogHealth::Lost => {
                self.position = None;
                self.rebuild().await;
                RETRY_DELAY
            }
            LogHealth::NewerVersion => {
                // This replica can't acknowledge entries that it doesn't understand, so no
                // revocation must wait for it.
                self.leave_log().await;
                VERSION_RETRY_DELAY
            }
            LogHealth::NotSeen | LogHealth::EvictionEnabled | LogHealth::Unreachable => RETRY_DELAY,
        }
    }

    /// Reads the log to its end, and extends the lease. Acknowledges applied entries immediately,
    /// because revocations wait for it.
    async fn follow_log(&mut self) -> Result<LogHealth, Error> {
        let mut has_joined = false;
        loop {
            let Some(position) = self.position.clone() else {
                if std::mem::replace(&mut has_joined, true) {
                    return Ok(LogHealth::Lost);
                }
                match self.join().await? {
                    Some(health) => return Ok(health),
                    None => continue,
                }
            };
            // Read before sending: the response can lack entries that are appended after that.
            let sent = clock::boot_time();
            match self
                .revocations
                .redis
                .renew(self.member_id(), &position.epoch, position.applied)
                .await?
            {
                RenewOutcome::Page(page) => {
                    let has_entries = !page.entries.is_empty();
                    let health = self.apply_page(position, page, sent);
                    let is_acknowledged = self.position.is_some() && !has_entries;
                    if health != LogHealth::Complete || is_acknowledged {
                        return Ok(health);
                    }
                }
                RenewOutcome::EpochChanged => self.position = None,
                RenewOutcome::Lost => return Ok(LogHealth::Lost),
                RenewOutcome::EvictionEnabled => return Ok(LogHealth::EvictionEnabled),
            }
        }
    }

    /// Registers as a member, before any entry is read. Returns the health of the log if this
    /// replica can't join.
    async fn join(&mut self) -> Result<Option<LogHealth>, Error> {
        match self.revocations.redis.join(self.member_id()).await? {
            JoinOutcome::Joined {
                epoch,
                before,
                lease,
            } => {
                let position = LogPosition {
                    epoch,
                    applied: before,
                };
                self.revocations.begin_log(lease, &position);
                self.position = Some(position);
                self.renewals.clear();
                Ok(None)
            }
            JoinOutcome::Lost => Ok(Some(LogHealth::Lost)),
            JoinOutcome::EvictionEnabled => Ok(Some(LogHealth::EvictionEnabled)),
        }
    }

    /// Applies the entries of a page, then extends the lease if the page reaches the end of the
    /// log.
    fn apply_page(
        &mut self,
        mut position: LogPosition<String>,
        page: LogPage,
        sent: BootTime,
    ) -> LogHealth {
        let numbers = page.entries.iter().map(|(number, _)| *number);
        let renewal = accept_renewal(&position, &position.epoch, numbers, page.last);
        if renewal == Renewal::Rejected {
            self.position = None;
            self.revocations.stream.forget();
            return LogHealth::Complete;
        }
        let parsed: Result<Vec<Entry>, _> =
            page.entries.iter().map(|(_, text)| text.parse()).collect();
        let Ok(entries) = parsed else {
            return LogHealth::NewerVersion;
        };
        let revocations = &self.revocations;
        revocations.apply_entries(&entries);
        // After the set, because a snapshot reads the position first. Before the lease, which
        // covers the stream as well.
        revocations
            .stream
            .extend(page.entries.iter().map(|(number, _)| *number).zip(entries));
        position.applied = page
            .entries
            .last()
            .map_or(position.applied, |(number, _)| *number);
        if renewal == Renewal::Complete {
            if self.member_id().is_some() {
                revocations.set.renew(lease_end(sent, page.lease));
            }
            self.store_acknowledgements(&position, &page);
        }
        self.position = Some(position);
        LogHealth::Complete
    }

    /// Records how far the other members have applied the log, for the revocations that wait. Reaps
    /// members that have not renewed for longer than a lease.
    fn store_acknowledgements(&mut self, position: &LogPosition<String>, page: &LogPage) {
        let applied = page
            .members
            .iter()
            .map(|member| (member.id, member.applied))
            .collect();
        let positions = AcknowledgedPositions {
            epoch: position.epoch.clone(),
            last: page.last,
            applied,
        };
        self.revocations.acknowledged.send_replace(positions);
        let now = clock::boot_time();
        let own_id = self.revocations.member_id;
        for member in page.members.iter().filter(|member| member.id != own_id) {
            let renewal = self
                .renewals
                .entry(member.id)
                .or_insert((member.renewal_counter, now));
            if renewal.0 != member.renewal_counter {
                *renewal = (member.renewal_counter, now);
            } else if can_reap(renewal.1, now, page.lease) {
                tokio::spawn(reap(
                    self.revocations.clone(),
                    member.clone(),
                    position.epoch.clone(),
                ));
                renewal.1 = now;
            }
        }
        self.renewals
            .retain(|id, _| page.members.iter().any(|member| member.id == *id));
    }

    /// The ID of this member; `None` if leases are off. Then this replica only reads the log, and
    /// each check queries Redis.
    fn member_id(&self) -> Option<Uuid> {
        let has_lease = !self.revocations.settings.lease.is_zero();
        has_lease.then_some(self.revocations.member_id)
    }

    /// Tries to rebuild the log once; the next renewal retries. Logs an error only if it changed.
    async fn rebuild(&mut self) {
        let is_first_attempt = self.logged_rebuild_error.is_none();
        let on_begin = || {
            if is_first_attempt {
                tracing::warn!("revocation log missing in Redis; rebuilding");
            }
        };
        let outcome = self.revocations.rebuild_log(on_begin).await;
        let failure = outcome.err().map(|error| Chain(&error).to_string());
        if let Some(error) = failure
            .as_ref()
            .filter(|_| failure != self.logged_rebuild_error)
        {
            tracing::warn!(error, "revocation log rebuild failed");
        }
        self.logged_rebuild_error = failure;
    }

    /// Relinquishes the lease permanently, and leaves the members.
    async fn leave(&mut self) {
        self.revocations.set.relinquish();
        self.leave_log().await;
    }

    /// Suspends the lease, then leaves the members. In the opposite order, this replica would hold
    /// a lease that no revocation waits for.
    async fn leave_log(&mut self) {
        self.revocations.set.suspend();
        self.position = None;
        if let Some(member) = self.member_id() {
            // If this fails, the other members reap this one after its lease.
            let _ = self.revocations.redis.leave(member).await;
        }
    }

    /// Logs a change of the log's health.
    fn log_change(&mut self, health: LogHealth, error: Option<Error>) {
        if self.logged_health.replace(health) == Some(health) {
            return;
        }
        match (health, error) {
            (LogHealth::Complete, _) => tracing::info!("connected to revocation log"),
            (LogHealth::NotSeen, _) => {}
            // The replica that rebuilds it logs a warning, unless an operator requested that.
            (LogHealth::Lost, _) => tracing::info!("revocation log unavailable"),
            (LogHealth::EvictionEnabled, _) => {
                tracing::error!("Redis evicts keys: set maxmemory-policy to noeviction")
            }
            (LogHealth::NewerVersion, _) => tracing::error!(
                "unknown revocation log entries found: update this replica to the newer version"
            ),
            (LogHealth::Unreachable, Some(error)) => {
                tracing::warn!(error = %Chain(&error), "lease renewal failed")
            }
            (LogHealth::Unreachable, None) => {}
        }
    }
}

async fn reap(revocations: Arc<Revocations>, member: LogMember, epoch: String) {
    // `false` means that the member renewed, or that another replica reaped it. The next renewal
    // retries after an error.
    if let Ok(true) = revocations.redis.reap(&member, &epoch).await {
        tracing::info!(member_id = %member.id, "reaped unreachable member");
    }
}
