//! Renewal of a lease as a state machine without I/O.
//!
//! A renewal is a short exchange with the revocation log: join, request pages until the log ends,
//! and acknowledge the applied entries. The lease worker performs each [`RenewalAction`] and passes
//! the response to [`LeaseRenewer::on_join`] or [`LeaseRenewer::on_renewal`].
//!
//! The models in `tests/models` run the pages of this state machine; unit tests cover the other
//! actions.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Entry, UnknownEntry,
    lease::{
        AcknowledgedPositions, BootTime, LogHealth, LogPosition, Renewal, accept_renewal, can_reap,
        lease_end,
    },
};

/// Renewals per lease, so that the lease survives a few failed renewals.
const RENEWALS_PER_LEASE: u32 = 5;

/// The delay until the next renewal if Redis has no valid log or doesn't respond.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The delay until the next renewal if this version can't read the log.
const VERSION_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The result of joining the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinOutcome<E> {
    /// The replica is a member: revocations wait for it from now on.
    Joined {
        /// The position before the first entry.
        before: LogPosition<E>,
        /// The lease length.
        lease: Duration,
    },
    /// There is no valid log.
    Lost,
    /// Redis evicts keys when its memory is full, so a missing entry proves nothing.
    EvictionEnabled,
}

/// The result of a request for the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewOutcome<I> {
    /// The entries after the acknowledged position.
    Page(LogPage<I>),
    /// The epoch differs, or the replica is not a member.
    EpochChanged,
    /// There is no valid log.
    Lost,
    /// Redis evicts keys when its memory is full, so a missing entry proves nothing.
    EvictionEnabled,
}

/// A page of log entries, read in one step with the state of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage<I> {
    /// The lease length.
    pub lease: Duration,
    /// The last sequence number of the log.
    pub last: u64,
    /// The entries with their sequence numbers.
    pub entries: Vec<(u64, Result<Entry, UnknownEntry>)>,
    /// All members of the log.
    pub members: Vec<LogMember<I>>,
}

/// A replica that can hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMember<I> {
    /// The ID of the process.
    pub id: I,
    /// The acknowledged position: the sequence number of the last applied entry.
    pub acknowledged: u64,
    /// The renewal counter at the last renewal, which never repeats within an epoch.
    pub renewal_counter: u64,
}

/// The next step of the lease worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalAction<E, I> {
    /// Register as a member. Pass the response to [`LeaseRenewer::on_join`].
    Join,
    /// Start to follow the log from the position before its first entry.
    FollowLog {
        /// The position before the first entry.
        before: LogPosition<E>,
        /// The lease length.
        lease: Duration,
    },
    /// Read the clock, then acknowledge the position and request the entries after it. Pass the
    /// response to [`LeaseRenewer::on_renewal`].
    Renew(LogPosition<E>),
    /// Add the entries to the revocation set, then to the revocation stream. After that, extend
    /// the lease.
    Apply {
        /// The entries with their sequence numbers.
        entries: Vec<(u64, Entry)>,
        /// The extension of the lease, if the page reaches the end of the log.
        extension: Option<LeaseExtension<E, I>>,
    },
    /// Discard the entries of the revocation stream, because the log must be read again.
    ForgetStream,
    /// The renewal is complete.
    Finish(LogHealth),
}

/// The effects of a page that reaches the end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseExtension<E, I> {
    /// The end of the lease, counted from before the request was sent; `None` if this replica
    /// holds no leases.
    pub lease_end: Option<BootTime>,
    /// How far the members have applied the log, for the revocations that wait.
    pub acknowledged: AcknowledgedPositions<E, I>,
    /// Members that have not renewed for longer than a lease. Remove them from the log.
    pub unreachable: Vec<LogMember<I>>,
}

/// The state of the lease worker of one replica.
#[derive(Debug)]
pub struct LeaseRenewer<E, I> {
    /// The ID of this member; `None` if it only reads the log and holds no leases.
    member_id: Option<I>,
    /// The last applied entry; `None` if the log must be read from its beginning.
    position: Option<LogPosition<E>>,
    stage: Stage,
    /// The last renewal of each other member, as this replica has seen it.
    renewals: BTreeMap<I, SeenRenewal>,
}

/// The progress of the current renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The renewal has not joined the log.
    Begun,
    /// The renewal has joined the log once, and doesn't join it again.
    Joined,
    /// The renewal is complete.
    Finished(LogHealth),
}

#[derive(Debug, Clone, Copy)]
struct SeenRenewal {
    counter: u64,
    /// The time at which this replica first read the counter.
    first_seen: BootTime,
}

impl<E: Clone + PartialEq, I: Copy + Ord> LeaseRenewer<E, I> {
    /// Creates the state of a replica that has not read the log. Without `member_id`, it reads the
    /// log and never holds a lease.
    pub fn new(member_id: Option<I>) -> LeaseRenewer<E, I> {
        LeaseRenewer {
            member_id,
            position: None,
            stage: Stage::Finished(LogHealth::NotSeen),
            renewals: BTreeMap::new(),
        }
    }

    /// Creates the state of a replica that has applied the log up to `position`.
    pub fn at(member_id: Option<I>, position: LogPosition<E>) -> LeaseRenewer<E, I> {
        LeaseRenewer {
            position: Some(position),
            stage: Stage::Begun,
            ..LeaseRenewer::new(member_id)
        }
    }

    /// Returns the last applied entry; `None` if the log must be read from its beginning.
    pub fn position(&self) -> Option<&LogPosition<E>> {
        self.position.as_ref()
    }

    /// Begins a renewal, and returns its first action.
    pub fn begin(&mut self) -> RenewalAction<E, I> {
        self.stage = Stage::Begun;
        self.next_action()
    }

    /// Returns the action after one that has no response.
    pub fn next_action(&mut self) -> RenewalAction<E, I> {
        match (self.stage, &self.position) {
            (Stage::Finished(health), _) => RenewalAction::Finish(health),
            (Stage::Begun | Stage::Joined, Some(position)) => {
                RenewalAction::Renew(position.clone())
            }
            (Stage::Begun, None) => RenewalAction::Join,
            // The log was replaced again. The next renewal joins it.
            (Stage::Joined, None) => self.finish(LogHealth::Lost),
        }
    }

    /// Processes the response to [`RenewalAction::Join`].
    pub fn on_join(&mut self, outcome: JoinOutcome<E>) -> RenewalAction<E, I> {
        match outcome {
            JoinOutcome::Joined { before, lease } => {
                self.stage = Stage::Joined;
                self.position = Some(before.clone());
                self.renewals.clear();
                RenewalAction::FollowLog { before, lease }
            }
            JoinOutcome::Lost => self.finish(LogHealth::Lost),
            JoinOutcome::EvictionEnabled => self.finish(LogHealth::EvictionEnabled),
        }
    }

    /// Processes the response to [`RenewalAction::Renew`]. A lease counts from `sent`, the time
    /// before the request was sent. `now`, the time of the response, only decides which members are
    /// unreachable.
    ///
    /// A page with entries is followed by another request, which acknowledges them immediately,
    /// because revocations wait for it.
    pub fn on_renewal(
        &mut self,
        sent: BootTime,
        now: BootTime,
        outcome: RenewOutcome<I>,
    ) -> RenewalAction<E, I> {
        match outcome {
            RenewOutcome::Page(page) => self.on_page(sent, now, page),
            RenewOutcome::EpochChanged => {
                self.position = None;
                self.next_action()
            }
            RenewOutcome::Lost => self.finish(LogHealth::Lost),
            RenewOutcome::EvictionEnabled => self.finish(LogHealth::EvictionEnabled),
        }
    }

    /// Starts the next renewal at the first entry of the log.
    pub fn forget_position(&mut self) {
        self.position = None;
    }

    fn on_page(&mut self, sent: BootTime, now: BootTime, page: LogPage<I>) -> RenewalAction<E, I> {
        // Without a position, no page was requested.
        let Some(position) = self.position.take() else {
            return self.next_action();
        };
        let numbers = page.entries.iter().map(|(number, _)| *number);
        let renewal = accept_renewal(&position, &position.epoch, numbers, page.last);
        if renewal == Renewal::Rejected {
            return RenewalAction::ForgetStream;
        }
        let known: Result<Vec<(u64, Entry)>, UnknownEntry> = page
            .entries
            .into_iter()
            .map(|(number, entry)| Ok((number, entry?)))
            .collect();
        let Ok(entries) = known else {
            return self.finish(LogHealth::NewerVersion);
        };
        let position = LogPosition {
            applied: entries
                .last()
                .map_or(position.applied, |(number, _)| *number),
            ..position
        };
        let extension = (renewal == Renewal::Complete).then(|| LeaseExtension {
            lease_end: self.member_id.map(|_| lease_end(sent, page.lease)),
            acknowledged: AcknowledgedPositions {
                epoch: position.epoch.clone(),
                last: page.last,
                applied: page
                    .members
                    .iter()
                    .map(|member| (member.id, member.acknowledged))
                    .collect(),
            },
            unreachable: self.find_unreachable(now, page.lease, &page.members),
        });
        if entries.is_empty() {
            self.stage = Stage::Finished(LogHealth::Complete);
        }
        self.position = Some(position);
        RenewalAction::Apply { entries, extension }
    }

    /// Returns the members that can be reaped. A member is returned once per drain period.
    fn find_unreachable(
        &mut self,
        now: BootTime,
        lease: Duration,
        members: &[LogMember<I>],
    ) -> Vec<LogMember<I>> {
        let mut unreachable = Vec::new();
        for member in members {
            if Some(member.id) == self.member_id {
                continue;
            }
            let seen = SeenRenewal {
                counter: member.renewal_counter,
                first_seen: now,
            };
            let last = self.renewals.entry(member.id).or_insert(seen);
            if last.counter != member.renewal_counter {
                *last = seen;
            } else if can_reap(last.first_seen, now, lease) {
                last.first_seen = now;
                unreachable.push(member.clone());
            }
        }
        self.renewals
            .retain(|id, _| members.iter().any(|member| member.id == *id));
        unreachable
    }

    fn finish(&mut self, health: LogHealth) -> RenewalAction<E, I> {
        if matches!(health, LogHealth::Lost | LogHealth::NewerVersion) {
            self.position = None;
        }
        self.stage = Stage::Finished(health);
        RenewalAction::Finish(health)
    }
}

/// Returns the time from the start of a renewal to the next. `lease` is the length of leases, if
/// it is known.
pub fn renewal_delay(health: LogHealth, lease: Option<Duration>) -> Duration {
    match health {
        LogHealth::Complete => lease.map_or(RETRY_DELAY, |lease| lease / RENEWALS_PER_LEASE),
        LogHealth::NewerVersion => VERSION_RETRY_DELAY,
        LogHealth::Lost
        | LogHealth::NotSeen
        | LogHealth::EvictionEnabled
        | LogHealth::Unreachable => RETRY_DELAY,
    }
}

#[cfg(test)]
#[path = "lease_renewer_tests.rs"]
mod tests;
