//! A replica with its lease worker, and a check on it.

use latchkey_domain::revocation::{
    lease::{BootTime, LogPosition, is_lease_valid, lease_end},
    lease_renewer::{LeaseRenewer, RenewalAction},
};

use super::{
    super::{
        log_page::{page_after, to_u8},
        mutants::Mutant,
    },
    ENTRIES_PER_PAGE, LeaseModel, MemberField, NOW, State,
    revoker::Stage,
    ticks_ago,
};

/// A process that can hold a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    lifecycle: Lifecycle,
    /// Position in the log; `None` if the replica must register and read from the first entry.
    position: Option<u8>,
    /// Whether the revocation set contains the revocation. The set keeps it during a second read.
    has_entry: bool,
    /// End of the lease, in ticks after [`LeaseModel::earliest_time`]; 0 if no check can use it.
    lease_end: u8,
    request: Request,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Lifecycle {
    #[default]
    NotStarted,
    Running,
    /// Crashed or stopped, without a lease. The script that deregisters it might still run.
    Stopped,
}

/// Pending request of the lease worker, or its response. There is at most one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Request {
    #[default]
    Idle,
    Join,
    Joined,
    /// A renewal that was sent `age` ticks ago.
    Renew {
        age: u8,
    },
    /// The response to the renewal: the entries after the position, of a log that ends at `last`.
    Page {
        age: u8,
        last: u8,
    },
    EpochChanged,
}

/// A check that begins after the response to the sign-out. Earlier checks prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check {
    pub replica: usize,
    /// Ticks since the check read the clock.
    pub age: u8,
    pub stage: CheckStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStage {
    Arrived,
    /// The lease is valid. The check reads the revocation set next.
    Leased,
    /// The set has no entry, and the check reads the lease next: [`Mutant::SetBeforeLease`] only.
    NotFound,
    Accepted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    /// The process crashes, or drops its lease for a clean stop.
    Stop,
    /// The last script of a clean stop runs in Redis.
    Deregister,
    Join,
    Renew,
    /// The requested script runs in Redis.
    RunScript,
    ReadResponse,
    /// The request or its response is lost.
    LoseRequest,
    BeginCheck,
    FirstRead,
    SecondRead,
}

impl Replica {
    pub fn is_stopped(&self) -> bool {
        self.lifecycle == Lifecycle::Stopped
    }

    pub fn tick(&mut self, model: &LeaseModel) {
        self.lease_end = self.lease_end.saturating_sub(1);
        if let Request::Renew { age } | Request::Page { age, .. } = &mut self.request {
            *age = model.increment_age(*age);
        }
    }
}

impl LeaseModel {
    /// The earliest time that the model distinguishes.
    fn earliest_time(&self) -> BootTime {
        ticks_ago(self.max_age())
    }

    pub fn is_leased(&self, replica: &Replica, now: BootTime) -> bool {
        is_lease_valid(
            now,
            self.earliest_time() + BootTime::from(replica.lease_end),
        )
    }
}

impl State {
    /// Clears each lease that no current or later check can use, to merge equivalent states.
    pub fn clear_expired_leases(&mut self, model: &LeaseModel) {
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let check_time = self
                .check
                .filter(|check| check.replica == index)
                .map_or(NOW, |check| ticks_ago(check.age));
            if !model.is_leased(replica, check_time) {
                replica.lease_end = 0;
            }
        }
    }

    pub fn add_replica_steps(&self, model: &LeaseModel, index: usize, mut add: impl FnMut(Step)) {
        let replica = &self.replicas[index];
        match replica.lifecycle {
            // The replicas are interchangeable, so the first one always starts first.
            Lifecycle::NotStarted => {
                if index == 0 || self.replicas[0].lifecycle != Lifecycle::NotStarted {
                    add(Step::Start);
                }
                return;
            }
            Lifecycle::Stopped => {
                if self.redis.members[index].is_some() {
                    add(Step::Deregister);
                }
                return;
            }
            // One replica that stops is sufficient.
            Lifecycle::Running => {
                if index == 0 {
                    add(Step::Stop);
                }
            }
        }
        match (replica.request, replica.position) {
            (Request::Idle, None) => add(Step::Join),
            (Request::Idle, Some(_)) => {
                add(Step::Renew);
                if model.is_mutant(Mutant::RegisterAfterReading)
                    && self.redis.members[index].is_none()
                {
                    add(Step::Join);
                }
            }
            (Request::Join | Request::Renew { .. }, _) => [Step::RunScript, Step::LoseRequest]
                .into_iter()
                .for_each(&mut add),
            (Request::Joined | Request::Page { .. } | Request::EpochChanged, _) => {
                [Step::ReadResponse, Step::LoseRequest]
                    .into_iter()
                    .for_each(&mut add);
            }
        }
        match &self.check {
            None if matches!(self.revoker.stage, Stage::Responded(_)) => add(Step::BeginCheck),
            Some(check) if check.replica == index => {
                add(if check.stage == CheckStage::Arrived {
                    Step::FirstRead
                } else {
                    Step::SecondRead
                });
            }
            None | Some(_) => {}
        }
    }

    pub fn apply_replica_step(&mut self, model: &LeaseModel, index: usize, step: Step) {
        let replica = &mut self.replicas[index];
        match step {
            Step::Start => {
                replica.lifecycle = Lifecycle::Running;
                replica.position = model.is_mutant(Mutant::RegisterAfterReading).then_some(0);
            }
            Step::Stop => {
                *replica = Replica {
                    lifecycle: Lifecycle::Stopped,
                    ..Replica::default()
                };
                self.check = self.check.filter(|check| check.replica != index);
            }
            Step::Deregister => self.redis.members[index] = None,
            Step::Join => replica.request = Request::Join,
            // The lease worker reads the clock before it sends the request.
            Step::Renew => replica.request = Request::Renew { age: 0 },
            Step::LoseRequest => replica.request = Request::Idle,
            Step::RunScript => self.run_script(model, index),
            Step::ReadResponse => self.read_response(model, index),
            Step::BeginCheck => {
                self.check = Some(Check {
                    replica: index,
                    age: 0,
                    stage: CheckStage::Arrived,
                })
            }
            Step::FirstRead | Step::SecondRead => self.check = self.advance_check(model, index),
        }
    }

    /// `join_log.lua` and `renew_lease.lua`.
    fn run_script(&mut self, model: &LeaseModel, index: usize) {
        let (replica, last) = (&mut self.replicas[index], self.redis.last);
        let field = &mut self.redis.members[index];
        let renewal_counter = field.map_or(self.revoker.newest_renewal_counter(index), |field| {
            field.renewal_counter
        }) + 1;
        replica.request = match (replica.request, replica.position) {
            (Request::Join, position) => {
                *field = Some(MemberField {
                    acknowledged: position.unwrap_or(0),
                    renewal_counter,
                });
                Request::Joined
            }
            // A renewal by an unregistered ID changes nothing.
            (Request::Renew { .. }, Some(_))
                if field.is_none() && !model.is_mutant(Mutant::RegisterAfterReading) =>
            {
                Request::EpochChanged
            }
            (Request::Renew { age }, Some(position)) => {
                let includes_page = model.is_mutant(Mutant::AcknowledgeBeforeApplying);
                let acknowledged = if includes_page {
                    last.min(position + ENTRIES_PER_PAGE)
                } else {
                    position
                };
                *field = field.map(|_| MemberField {
                    acknowledged,
                    renewal_counter,
                });
                Request::Page { age, last }
            }
            (request, _) => request,
        };
    }

    /// The lease worker processes the response.
    fn read_response(&mut self, model: &LeaseModel, index: usize) {
        let replica = &mut self.replicas[index];
        match (std::mem::take(&mut replica.request), replica.position) {
            // The position before the first entry.
            (Request::Joined, position) => replica.position = position.or(Some(0)),
            (Request::Page { age, last }, Some(position)) => {
                let sent = if model.is_mutant(Mutant::LeaseFromResponse) {
                    NOW
                } else {
                    ticks_ago(age)
                };
                let mut renewer = LeaseRenewer::at(
                    Some(index),
                    LogPosition {
                        epoch: (),
                        applied: u64::from(position),
                    },
                );
                let page = page_after(position, last, ENTRIES_PER_PAGE, model.replica_lease());
                let action = renewer.on_renewal(sent, NOW, page);
                replica.position = renewer.position().map(|position| to_u8(position.applied));
                let RenewalAction::Apply { entries, extension } = action else {
                    return;
                };
                // The replica applies all entries before it extends the lease.
                let revocation = u64::from(model.revocation_number());
                replica.has_entry |= entries.iter().any(|(number, _)| *number == revocation);
                let renewed = extension.and_then(|extension| extension.lease_end);
                let partial = || {
                    model
                        .is_mutant(Mutant::PartialPageRenews)
                        .then(|| lease_end(sent, model.replica_lease()))
                };
                if let Some(end) = renewed.or_else(partial) {
                    replica.lease_end = to_u8(end.saturating_sub(model.earliest_time()));
                }
            }
            (_, _) => replica.position = None,
        }
    }

    /// The next read of a check: the lease first, the revocation set second.
    ///
    /// A check without a lease disappears, because the loss model covers the other check sources.
    fn advance_check(&self, model: &LeaseModel, index: usize) -> Option<Check> {
        let (check, replica) = (self.check?, &self.replicas[index]);
        let is_leased = model.is_leased(replica, ticks_ago(check.age));
        let is_missing = !replica.has_entry;
        let stage = match check.stage {
            CheckStage::Arrived if model.is_mutant(Mutant::SetBeforeLease) => {
                is_missing.then_some(CheckStage::NotFound)
            }
            CheckStage::Arrived => is_leased.then_some(CheckStage::Leased),
            CheckStage::Leased => is_missing.then_some(CheckStage::Accepted),
            CheckStage::NotFound => is_leased.then_some(CheckStage::Accepted),
            CheckStage::Accepted => Some(CheckStage::Accepted),
        };
        // After the lease reading, the age of the check has no effect.
        let age = if model.is_mutant(Mutant::SetBeforeLease) {
            check.age
        } else {
            0
        };
        stage.map(|stage| Check {
            stage,
            age,
            ..check
        })
    }
}
