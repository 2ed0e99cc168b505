//! The lease worker: renews the lease of this replica, and applies new log entries. It renews five
//! times per lease, or immediately when an entry was appended, or when a member has acknowledged
//! entries while a revocation waits here. A renewal acknowledges the applied entries, and returns
//! the following ones and the acknowledged positions of all members.
//!
//! [`LeaseRenewer`] decides each step; this file performs it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use latchkey_domain::revocation::{
    Entry,
    lease::LogHealth,
    lease_renewer::{LeaseExtension, LeaseRenewer, RenewalAction, renewal_delay},
};
use tokio::time::{timeout, timeout_at};
use uuid::Uuid;

use super::Revocations;
use crate::{
    app::clock,
    error::{Chain, Error},
    redis::{self, LogMember, LogNotification},
};

/// The delay until the next attempt to subscribe.
const RESUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// The longest time that a drain waits until this replica has left the members.
const DEREGISTER_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of the lease worker.
struct LeaseWorker {
    revocations: Arc<Revocations>,
    renewer: LeaseRenewer<String, Uuid>,
    logged_health: Option<LogHealth>,
    logged_rebuild_error: Option<String>,
}

impl Revocations {
    /// Renews the lease until this replica drains, then leaves the members. Never returns.
    pub(crate) async fn run_lease_worker(self: Arc<Self>) {
        let mut worker = LeaseWorker {
            revocations: self.clone(),
            renewer: LeaseRenewer::new(self.leasing_member_id()),
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

    /// The ID of this member; `None` if leases are off. Then this replica only reads the log, and
    /// each check queries Redis.
    fn leasing_member_id(&self) -> Option<Uuid> {
        let has_lease = !self.settings.lease.is_zero();
        has_lease.then_some(self.member_id)
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
        let outcome = self.renew().await;
        let health = *outcome.as_ref().unwrap_or(&LogHealth::Unreachable);
        let failure = outcome.err();
        self.revocations.set_log_health(health);
        self.revocations
            .set_log_failure(failure.as_ref().map(redis::diagnose));
        self.log_change(health, failure);
        match health {
            LogHealth::Lost => self.rebuild().await,
            // This replica can't acknowledge entries that it doesn't understand, so no revocation
            // must wait for it.
            LogHealth::NewerVersion => self.leave_log().await,
            LogHealth::Complete
            | LogHealth::NotSeen
            | LogHealth::EvictionEnabled
            | LogHealth::Unreachable => {}
        }
        renewal_delay(health, self.revocations.current_lease())
    }

    /// Performs the actions of one renewal.
    async fn renew(&mut self) -> Result<LogHealth, Error> {
        let mut action = self.renewer.begin();
        loop {
            action = match action {
                RenewalAction::Join => {
                    let outcome = self
                        .revocations
                        .redis
                        .join(self.revocations.leasing_member_id())
                        .await?;
                    self.renewer.on_join(outcome)
                }
                RenewalAction::FollowLog { before, lease } => {
                    self.revocations.follow_log(lease, &before);
                    self.renewer.next_action()
                }
                RenewalAction::Renew(position) => {
                    // Read before sending: the response can lack entries that are appended after
                    // that.
                    let sent = clock::boot_time();
                    let outcome = self
                        .revocations
                        .redis
                        .renew(
                            self.revocations.leasing_member_id(),
                            &position.epoch,
                            position.applied,
                        )
                        .await?;
                    self.renewer.on_renewal(sent, clock::boot_time(), outcome)
                }
                RenewalAction::Apply { entries, extension } => {
                    self.apply(entries, extension);
                    self.renewer.next_action()
                }
                RenewalAction::ForgetStream => {
                    self.revocations.stream.forget();
                    self.renewer.next_action()
                }
                RenewalAction::Finish(health) => return Ok(health),
            };
        }
    }

    /// Applies the entries of a page, then extends the lease if the page reaches the end of the
    /// log.
    fn apply(&self, entries: Vec<(u64, Entry)>, extension: Option<LeaseExtension<String, Uuid>>) {
        let revocations = &self.revocations;
        let applied: Vec<Entry> = entries.iter().map(|(_, entry)| *entry).collect();
        revocations.apply_published(&applied);
        // After the set, because a snapshot reads the position first. Before the lease, which
        // covers the stream as well.
        revocations.stream.extend(entries.into_iter());
        let Some(extension) = extension else { return };
        if let Some(lease_end) = extension.lease_end {
            revocations.set.renew(lease_end);
        }
        for member in extension.unreachable {
            let epoch = extension.acknowledged.epoch.clone();
            tokio::spawn(reap(revocations.clone(), member, epoch));
        }
        revocations
            .acknowledged
            .send_replace(extension.acknowledged);
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
        self.renewer.forget_position();
        if let Some(member) = self.revocations.leasing_member_id() {
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
            (LogHealth::Lost, _) => {
                tracing::info!("revocation log lost; PostgreSQL serves checks")
            }
            (LogHealth::EvictionEnabled, _) => {
                tracing::error!(
                    "Redis eviction enabled; PostgreSQL serves checks: set maxmemory-policy to \
                     noeviction"
                )
            }
            (LogHealth::NewerVersion, _) => tracing::error!(
                "unknown revocation log entries found; checks return 503: update this replica to \
                 the newer version"
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
