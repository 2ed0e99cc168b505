//! Whoever revokes, and reaps meanwhile. It holds no lease itself: its own memory has the entry
//! before it waits.

use std::collections::BTreeSet;

use latchkey_domain::revocation::lease::{
    AcknowledgedPositions, AppendedEntry, drained_at, is_enforced, lease_end, may_reap,
};

use super::{super::mutants::Mutant, Field, Leases, NOW, State, ago};

/// One revocation, and what is known of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Revoker {
    pub stage: Stage,
    /// Who was a member at the append.
    members: [bool; 2],
    /// Ticks since the append was answered.
    age: u8,
    /// An answer that is on its way: what the members have said.
    pub heard: Option<Heard>,
    /// The last answer.
    reports: Option<Heard>,
    /// What the reaper remembers of each member.
    pub seen: [Option<Seen>; 2],
    /// The reaper's script, on its way.
    pub reap: Option<Reap>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// The record has it.
    Recorded,
    /// The members are listed, and nothing is appended: only where that is done apart.
    Listed,
    /// The log has it; the answer is on its way.
    AppendedEntry,
    Waiting,
    /// The logout is answered.
    Returned(By),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    Wait,
    AcknowledgedPositions,
}

/// Members and the end of the log, read in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    last: u8,
    pub members: [Option<Field>; 2],
}

/// A member's beat, and for how long it was seen unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    pub mark: u8,
    age: u8,
}

/// To be removed, if its beat is still this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reap {
    pub member: usize,
    pub mark: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Record,
    List,
    Append,
    Hear,
    ReturnEarly,
    ReturnAfterWait,
    /// A renewal of the revoker, which tells how far the members are, runs in Redis.
    AskMembers,
    /// Its answer is read.
    ReadMembers,
    /// The reaper's script runs.
    Reap,
}

impl Revoker {
    pub fn tick(&mut self, model: &Leases) {
        if self.stage == Stage::Waiting {
            self.age = model.older(self.age);
        }
        self.seen
            .iter_mut()
            .flatten()
            .for_each(|seen| seen.age = model.older(seen.age));
    }

    /// The newest beat of a member that anybody remembers.
    pub fn newest_beat(&self, at: usize) -> u8 {
        let heard = self
            .heard
            .and_then(|heard| heard.members[at])
            .map(|field| field.beat);
        let reap = self
            .reap
            .filter(|reap| reap.member == at)
            .map(|reap| reap.mark);
        heard
            .max(self.seen[at].map(|seen| seen.mark))
            .max(reap)
            .unwrap_or(0)
    }

    fn may_return_early(&self, model: &Leases) -> bool {
        let members: BTreeSet<usize> = (0..2).filter(|at| self.members[*at]).collect();
        let appended = AppendedEntry {
            epoch: (),
            number: u64::from(model.revoked()),
            members,
        };
        let Some(Heard { last, members }) = self.reports else {
            return appended.members.is_empty();
        };
        let applied = (0..2)
            .filter_map(|at| Some((at, u64::from(members[at]?.applied))))
            .collect();
        let mut reports = AcknowledgedPositions {
            epoch: (),
            last: u64::from(last),
            applied,
        };
        if model.is(Mutant::OldReports) {
            reports.last = appended.number;
        }
        is_enforced(&appended, &usize::MAX, &reports)
    }

    fn is_over(&self, model: &Leases) -> bool {
        let of_lease = model.is(Mutant::WaitOneLease);
        NOW >= if of_lease {
            lease_end(ago(self.age), model.lease())
        } else {
            drained_at(ago(self.age), model.lease())
        }
    }
}

impl State {
    pub fn steps_of_revoker(&self, model: &Leases, mut may: impl FnMut(Step)) {
        let revoker = &self.revoker;
        match revoker.stage {
            Stage::Idle => may(Step::Record),
            Stage::Recorded if model.is(Mutant::MembersBeforeAppend) => may(Step::List),
            Stage::Recorded | Stage::Listed => may(Step::Append),
            Stage::AppendedEntry => may(Step::Hear),
            Stage::Waiting => {
                if model.early && revoker.may_return_early(model) {
                    may(Step::ReturnEarly);
                }
                if revoker.is_over(model) {
                    may(Step::ReturnAfterWait);
                }
            }
            Stage::Returned(_) => return,
        }
        if model.early && (model.reaper || revoker.stage != Stage::Idle) {
            may(if revoker.heard.is_none() {
                Step::AskMembers
            } else {
                Step::ReadMembers
            });
        }
        if revoker.reap.is_some() {
            may(Step::Reap);
        }
    }

    pub fn step_of_revoker(&mut self, model: &Leases, step: Step) {
        let revoker = &mut self.revoker;
        match step {
            Step::Record => revoker.stage = Stage::Recorded,
            Step::List => {
                revoker.members = self.redis.members.map(|field| field.is_some());
                revoker.stage = Stage::Listed;
            }
            // `revoke.lua`: it appends, and lists the members in the same step.
            Step::Append => {
                self.redis.last = model.revoked();
                if revoker.stage == Stage::Recorded {
                    revoker.members = self.redis.members.map(|field| field.is_some());
                }
                revoker.stage = Stage::AppendedEntry;
            }
            Step::Hear => (revoker.stage, revoker.age) = (Stage::Waiting, 0),
            Step::ReturnEarly => self.revoker = returned(By::AcknowledgedPositions),
            Step::ReturnAfterWait => self.revoker = returned(By::Wait),
            Step::AskMembers => {
                revoker.heard = Some(Heard {
                    last: self.redis.last,
                    members: self.redis.members,
                });
                // Only beside the reaper is it of interest how late that is heard.
                if !model.reaper {
                    self.read_members(model);
                }
            }
            Step::ReadMembers => self.read_members(model),
            Step::Reap => self.reap(model),
        }
    }

    fn read_members(&mut self, model: &Leases) {
        let revoker = &mut self.revoker;
        let Some(heard) = revoker.heard.take() else {
            return;
        };
        let silent = |field: Field| Field { beat: 0, ..field };
        revoker.reports = Some(Heard {
            members: heard.members.map(|field| field.map(silent)),
            ..heard
        });
        if !model.reaper {
            return;
        }
        for (member, field) in heard.members.into_iter().enumerate() {
            let mark = field.map(|field| mark(model, &field));
            revoker.seen[member] = match (mark, revoker.seen[member]) {
                (None, _) => None,
                (Some(mark), Some(seen)) if seen.mark == mark => {
                    let over = may_reap(ago(seen.age), NOW, model.lease());
                    if over {
                        revoker.reap = Some(Reap { member, mark });
                    }
                    Some(if over { Seen { age: 0, ..seen } } else { seen })
                }
                (Some(mark), _) => Some(Seen { mark, age: 0 }),
            };
        }
    }

    /// What does not let the revocation return does not let it return later either: only the next
    /// report may.
    pub fn forget_reports(&mut self, model: &Leases) {
        if self.revoker.stage == Stage::Waiting && !self.revoker.may_return_early(model) {
            self.revoker.reports = None;
        }
    }

    /// `remove_member.lua`.
    fn reap(&mut self, model: &Leases) {
        let Some(Reap { member, mark: seen }) = self.revoker.reap.take() else {
            return;
        };
        let unchanged = self.redis.members[member].is_some_and(|field| mark(model, &field) == seen);
        if unchanged || model.is(Mutant::ReaperWithoutComparing) {
            self.redis.members[member] = None;
        }
    }
}

/// What the reaper compares.
fn mark(model: &Leases, field: &Field) -> u8 {
    if model.is(Mutant::ReaperByPosition) {
        field.applied
    } else {
        field.beat
    }
}

/// What it knew is of no use any more.
fn returned(by: By) -> Revoker {
    Revoker {
        stage: Stage::Returned(by),
        ..Revoker::default()
    }
}
