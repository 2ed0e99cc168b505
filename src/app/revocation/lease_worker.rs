//! Keeping the lease: a fifth of its length after each renewal the next one is sent, or at once
//! when something was appended. A renewal tells how far this replica is, and what it does not know
//! yet.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use latchkey_domain::revocation::{
    Entry,
    lease::{
        AcknowledgedPositions, BootTime, LogHealth, LogPosition, Renewal, accept_renewal,
        lease_end, may_reap,
    },
};
use tokio::time::{timeout, timeout_at};
use uuid::Uuid;

use crate::{
    app::{Gateway, clock},
    error::{Chain, Error},
    redis::{JoinOutcome, LogMember, LogNotification, LogPage, RenewOutcome},
};

/// Renewals in the time of a lease: some may fail, and it goes on.
const RENEWALS_PER_LEASE: u32 = 5;

/// Between two looks at a Redis without an epoch, or without an answer.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Between two looks at a log that this version does not understand.
const VERSION_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Between two attempts to hear what the scripts say.
const RESUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// How long a clean stop waits for the last word to Redis.
const DEREGISTER_TIMEOUT: Duration = Duration::from_millis(500);

/// The one who keeps the lease of this process.
struct LeaseWorker {
    gateway: Arc<Gateway>,
    /// How far memory follows the log; nothing where it is to be read from its beginning.
    position: Option<LogPosition<String>>,
    /// When the other members were seen with an unchanged beat first.
    seen: HashMap<Uuid, (u64, BootTime)>,
    /// What was told the log last.
    told: Option<LogHealth>,
    /// Why the log could not be built anew.
    failure: Option<String>,
}

impl Gateway {
    /// Keeps the lease until the process ends.
    pub async fn run_lease_worker(self: Arc<Self>) {
        let mut keeper = LeaseWorker {
            gateway: self.clone(),
            position: None,
            seen: HashMap::new(),
            told: None,
            failure: None,
        };
        while !self.revocations.is_leaving() {
            let began = Instant::now();
            let next = began + keeper.look().await;
            let _ = timeout_at(next.into(), self.revocations.renewal_ready.notified()).await;
        }
        keeper.leave().await;
        self.revocations.left.notify_one();
        std::future::pending().await
    }

    /// Listens for whatever is a reason to renew at once, until the process ends. Without it all
    /// takes a little longer.
    pub async fn run_subscription_worker(self: Arc<Self>) {
        loop {
            let hear = |wake| {
                if wake == LogNotification::AppendedEntry
                    || self.revocations.waiting.load(Ordering::Relaxed) > 0
                {
                    self.revocations.renewal_ready.notify_one();
                }
            };
            if let Err(error) = self.redis.listen(hear).await {
                tracing::debug!(error = %Chain(&error), "revocation subscription failed");
            }
            tokio::time::sleep(RESUBSCRIBE_DELAY).await;
        }
    }

    /// Gives the lease up, and then the membership: nobody needs to wait for this replica any more.
    pub async fn relinquish_lease(&self) {
        self.revocations.leaving.store(true, Ordering::Relaxed);
        self.revocations.renewal_ready.notify_one();
        let _ = timeout(DEREGISTER_TIMEOUT, self.revocations.left.notified()).await;
    }
}

impl LeaseWorker {
    /// One renewal with all that belongs to it; the time from its beginning to the next.
    async fn look(&mut self) -> Duration {
        let outcome = self.follow().await;
        let sight = *outcome.as_ref().unwrap_or(&LogHealth::Unreachable);
        self.gateway.revocations.saw(sight);
        self.tell(sight, outcome.err());
        match sight {
            LogHealth::Complete => self
                .gateway
                .revocations
                .lease()
                .map_or(RETRY_DELAY, |lease| lease / RENEWALS_PER_LEASE),
            LogHealth::Lost => {
                self.position = None;
                self.rebuild().await;
                RETRY_DELAY
            }
            LogHealth::NewerVersion => {
                // Nobody shall wait for this replica, which cannot say that it has everything.
                self.leave_log().await;
                VERSION_RETRY_DELAY
            }
            LogHealth::NotSeen | LogHealth::EvictionEnabled | LogHealth::Unreachable => RETRY_DELAY,
        }
    }

    /// Reads the log to its end, and moves the lease. What was applied is reported at once:
    /// somebody waits for it.
    async fn follow(&mut self) -> Result<LogHealth, Error> {
        let mut begun = false;
        loop {
            let Some(position) = self.position.clone() else {
                if std::mem::replace(&mut begun, true) {
                    return Ok(LogHealth::Lost);
                }
                match self.join().await? {
                    Some(sight) => return Ok(sight),
                    None => continue,
                }
            };
            // Read before the sending: what is appended after that may be missing in the answer.
            let sent = clock::uptime();
            match self
                .gateway
                .redis
                .renew(self.member(), &position.epoch, position.applied)
                .await?
            {
                RenewOutcome::Page(page) => {
                    let news = !page.entries.is_empty();
                    let sight = self.apply_page(position, page, sent);
                    if sight != LogHealth::Complete || (self.position.is_some() && !news) {
                        return Ok(sight);
                    }
                }
                RenewOutcome::EpochChanged => self.position = None,
                RenewOutcome::Lost => return Ok(LogHealth::Lost),
                RenewOutcome::EvictionEnabled => return Ok(LogHealth::EvictionEnabled),
            }
        }
    }

    /// Registers, before anything is read.
    async fn join(&mut self) -> Result<Option<LogHealth>, Error> {
        match self.gateway.redis.join(self.member()).await? {
            JoinOutcome::Joined {
                epoch,
                before,
                lease,
            } => {
                let position = LogPosition {
                    epoch,
                    applied: before,
                };
                self.gateway.revocations.begins(lease, &position);
                self.position = Some(position);
                self.seen.clear();
                Ok(None)
            }
            JoinOutcome::Lost => Ok(Some(LogHealth::Lost)),
            JoinOutcome::EvictionEnabled => Ok(Some(LogHealth::EvictionEnabled)),
        }
    }

    /// Takes the entries into memory, and then moves the lease, if they are all there are.
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
            self.gateway.revocations.feed.forget();
            return LogHealth::Complete;
        }
        let read: Result<Vec<Entry>, _> =
            page.entries.iter().map(|(_, text)| text.parse()).collect();
        let Ok(entries) = read else {
            return LogHealth::NewerVersion;
        };
        let revocations = &self.gateway.revocations;
        revocations.set.set().apply(&entries);
        self.gateway.revoke_keys(&entries);
        // After memory, because who is told everything looks at the position first; before the
        // lease, which speaks for it.
        revocations
            .feed
            .extend(page.entries.iter().map(|(number, _)| *number).zip(entries));
        position.applied = page
            .entries
            .last()
            .map_or(position.applied, |(number, _)| *number);
        if renewal == Renewal::Complete {
            if self.member().is_some() {
                revocations.set.renew(lease_end(sent, page.lease));
            }
            self.record_acknowledgements(&position, &page);
        }
        self.position = Some(position);
        LogHealth::Complete
    }

    /// How far the others are, for those who wait for them. Who has not renewed for longer than a
    /// lease is to be removed.
    fn record_acknowledgements(&mut self, position: &LogPosition<String>, page: &LogPage) {
        let applied = page
            .members
            .iter()
            .map(|member| (member.id, member.applied))
            .collect();
        let reports = AcknowledgedPositions {
            epoch: position.epoch.clone(),
            last: page.last,
            applied,
        };
        self.gateway.revocations.reports.send_replace(reports);
        let now = clock::uptime();
        for member in page
            .members
            .iter()
            .filter(|member| member.id != self.gateway.revocations.id)
        {
            let seen = self.seen.entry(member.id).or_insert((member.beat, now));
            if seen.0 != member.beat {
                *seen = (member.beat, now);
            } else if may_reap(seen.1, now, page.lease) {
                tokio::spawn(reap(
                    self.gateway.clone(),
                    member.clone(),
                    position.epoch.clone(),
                ));
                seen.1 = now;
            }
        }
        self.seen
            .retain(|id, _| page.members.iter().any(|member| member.id == *id));
    }

    /// Nothing where leases are off: then it reads along, and asks Redis for each check.
    fn member(&self) -> Option<Uuid> {
        (!self.gateway.config.lease.is_zero()).then_some(self.gateway.revocations.id)
    }

    /// Once: the next look tries again. A failure is told the log when it is another than before.
    async fn rebuild(&mut self) {
        let is_first = self.failure.is_none();
        let begins = || {
            if is_first {
                tracing::warn!("revocation log missing in Redis; rebuilding");
            }
        };
        let failure = self
            .gateway
            .rebuild_log(begins)
            .await
            .err()
            .map(|error| Chain(&error).to_string());
        if let Some(error) = failure.as_ref().filter(|_| failure != self.failure) {
            tracing::warn!(error, "revocation log rebuild failed");
        }
        self.failure = failure;
    }

    /// For good.
    async fn leave(&mut self) {
        self.gateway.revocations.set.relinquish();
        self.leave_log().await;
    }

    /// First without a lease, then no member any more: the other order would keep a lease that
    /// nobody waits for.
    async fn leave_log(&mut self) {
        self.gateway.revocations.set.suspend();
        self.position = None;
        if let Some(member) = self.member() {
            // If this fails, the others find out by themselves that nobody renews any more.
            let _ = self.gateway.redis.leave(member).await;
        }
    }

    /// Tells the log of a change, not of every look.
    fn tell(&mut self, sight: LogHealth, error: Option<Error>) {
        if self.told.replace(sight) == Some(sight) {
            return;
        }
        match (sight, error) {
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

async fn reap(gateway: Arc<Gateway>, member: LogMember, epoch: String) {
    // Else it renewed after all, or somebody else was faster; or Redis is asked again by the next
    // renewal.
    if let Ok(true) = gateway.redis.reap(&member, &epoch).await {
        tracing::info!(member_id = %member.id, "reaped unreachable member");
    }
}
