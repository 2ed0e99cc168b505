//! The replica that revokes a session and reaps members.
//!
//! It needs no lease in this model, because its revocation set contains the entry before it waits.

use std::collections::BTreeSet;

use latchkey_domain::revocation::lease::{
    AcknowledgedPositions, AppendedEntry, can_reap, drained_at, is_enforced, lease_end,
};

use super::{super::mutants::Mutant, LeaseModel, MemberField, NOW, State, ticks_ago};

/// One revocation, and the member lists that the replica has received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Revoker {
    pub stage: Stage,
    /// Which replicas were members at the time of the append.
    members: [bool; 2],
    /// Ticks since the response to the append arrived.
    age: u8,
    /// A member list in flight.
    pub response: Option<MemberList>,
    /// The last member list that arrived.
    positions: Option<MemberList>,
    /// The last renewal counter of each member, for reaping.
    pub observed: [Option<Observation>; 2],
    /// The reaping script in flight.
    pub reap: Option<Reap>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// PostgreSQL contains the revocation.
    Committed,
    /// The member list is read before the append, with [`Mutant::MembersBeforeAppend`] only.
    MembersRead,
    /// The log contains the entry, and the response is in flight.
    Appended,
    Waiting,
    /// The sign-out has responded.
    Responded(Completion),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completion {
    DrainPeriod,
    Acknowledged,
}

/// Members and the end of the log, read in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberList {
    last: u8,
    pub members: [Option<MemberField>; 2],
}

/// A renewal counter, and the number of ticks for which it has been unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    pub counter: u8,
    age: u8,
}

/// Removes the member if its renewal counter is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reap {
    pub member: usize,
    pub counter: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Commit,
    ReadMembersFirst,
    Append,
    ReadAppendResponse,
    RespondEarly,
    RespondAfterDrainPeriod,
    /// A renewal of the revoking replica, which returns the member list, runs in Redis.
    RequestMembers,
    ReadMembers,
    /// The reaping script runs in Redis.
    Reap,
}

impl Revoker {
    pub fn tick(&mut self, model: &LeaseModel) {
        if self.stage == Stage::Waiting {
            self.age = model.increment_age(self.age);
        }
        self.observed
            .iter_mut()
            .flatten()
            .for_each(|observation| observation.age = model.increment_age(observation.age));
    }

    /// The newest renewal counter of a member that the revoking replica might compare.
    pub fn newest_renewal_counter(&self, index: usize) -> u8 {
        let in_response = self
            .response
            .and_then(|response| response.members[index])
            .map(|field| field.renewal_counter);
        let in_reap = self
            .reap
            .filter(|reap| reap.member == index)
            .map(|reap| reap.counter);
        in_response
            .max(self.observed[index].map(|observation| observation.counter))
            .max(in_reap)
            .unwrap_or(0)
    }

    fn can_respond_early(&self, model: &LeaseModel) -> bool {
        let members: BTreeSet<usize> = (0..2).filter(|index| self.members[*index]).collect();
        let appended = AppendedEntry {
            epoch: (),
            number: u64::from(model.revocation_number()),
            members,
        };
        let Some(MemberList { last, members }) = self.positions else {
            return appended.members.is_empty();
        };
        let applied = (0..2)
            .filter_map(|index| Some((index, u64::from(members[index]?.acknowledged))))
            .collect();
        let mut positions = AcknowledgedPositions {
            epoch: (),
            last: u64::from(last),
            applied,
        };
        if model.is_mutant(Mutant::OldAcknowledgements) {
            positions.last = appended.number;
        }
        is_enforced(&appended, &usize::MAX, &positions)
    }

    fn has_drained(&self, model: &LeaseModel) -> bool {
        let waits_one_lease = model.is_mutant(Mutant::WaitOneLease);
        NOW >= if waits_one_lease {
            lease_end(ticks_ago(self.age), model.lease())
        } else {
            drained_at(ticks_ago(self.age), model.lease())
        }
    }
}

impl State {
    pub fn add_revoker_steps(&self, model: &LeaseModel, mut add: impl FnMut(Step)) {
        let revoker = &self.revoker;
        match revoker.stage {
            Stage::Idle => add(Step::Commit),
            Stage::Committed if model.is_mutant(Mutant::MembersBeforeAppend) => {
                add(Step::ReadMembersFirst)
            }
            Stage::Committed | Stage::MembersRead => add(Step::Append),
            Stage::Appended => add(Step::ReadAppendResponse),
            Stage::Waiting => {
                if model.has_early_acknowledgement && revoker.can_respond_early(model) {
                    add(Step::RespondEarly);
                }
                if revoker.has_drained(model) {
                    add(Step::RespondAfterDrainPeriod);
                }
            }
            Stage::Responded(_) => return,
        }
        if model.has_early_acknowledgement && (model.has_reaping || revoker.stage != Stage::Idle) {
            add(if revoker.response.is_none() {
                Step::RequestMembers
            } else {
                Step::ReadMembers
            });
        }
        if revoker.reap.is_some() {
            add(Step::Reap);
        }
    }

    pub fn apply_revoker_step(&mut self, model: &LeaseModel, step: Step) {
        let revoker = &mut self.revoker;
        match step {
            Step::Commit => revoker.stage = Stage::Committed,
            Step::ReadMembersFirst => {
                revoker.members = self.redis.members.map(|field| field.is_some());
                revoker.stage = Stage::MembersRead;
            }
            // `append_entries.lua` appends the entry and reads the members in the same step.
            Step::Append => {
                self.redis.last = model.revocation_number();
                if revoker.stage == Stage::Committed {
                    revoker.members = self.redis.members.map(|field| field.is_some());
                }
                revoker.stage = Stage::Appended;
            }
            Step::ReadAppendResponse => (revoker.stage, revoker.age) = (Stage::Waiting, 0),
            Step::RespondEarly => self.revoker = responded(Completion::Acknowledged),
            Step::RespondAfterDrainPeriod => self.revoker = responded(Completion::DrainPeriod),
            Step::RequestMembers => {
                revoker.response = Some(MemberList {
                    last: self.redis.last,
                    members: self.redis.members,
                });
                // A late response matters only for reaping.
                if !model.has_reaping {
                    self.read_members(model);
                }
            }
            Step::ReadMembers => self.read_members(model),
            Step::Reap => self.reap(model),
        }
    }

    fn read_members(&mut self, model: &LeaseModel) {
        let revoker = &mut self.revoker;
        let Some(response) = revoker.response.take() else {
            return;
        };
        let clear_counter = |field: MemberField| MemberField {
            renewal_counter: 0,
            ..field
        };
        revoker.positions = Some(MemberList {
            members: response.members.map(|field| field.map(clear_counter)),
            ..response
        });
        if !model.has_reaping {
            return;
        }
        for (member, field) in response.members.into_iter().enumerate() {
            let counter = field.map(|field| reaping_counter(model, &field));
            revoker.observed[member] = match (counter, revoker.observed[member]) {
                (None, _) => None,
                (Some(counter), Some(last)) if last.counter == counter => {
                    let is_reapable = can_reap(ticks_ago(last.age), NOW, model.lease());
                    if is_reapable {
                        revoker.reap = Some(Reap { member, counter });
                    }
                    Some(if is_reapable {
                        Observation { age: 0, ..last }
                    } else {
                        last
                    })
                }
                (Some(counter), _) => Some(Observation { counter, age: 0 }),
            };
        }
    }

    /// Discards positions that do not permit an early response, to merge equivalent states.
    ///
    /// Such positions never permit one later. Only newer positions can.
    pub fn discard_insufficient_positions(&mut self, model: &LeaseModel) {
        if self.revoker.stage == Stage::Waiting && !self.revoker.can_respond_early(model) {
            self.revoker.positions = None;
        }
    }

    /// `remove_member.lua`.
    fn reap(&mut self, model: &LeaseModel) {
        let Some(Reap { member, counter }) = self.revoker.reap.take() else {
            return;
        };
        let is_unchanged = self.redis.members[member]
            .is_some_and(|field| reaping_counter(model, &field) == counter);
        if is_unchanged || model.is_mutant(Mutant::ReapWithoutComparing) {
            self.redis.members[member] = None;
        }
    }
}

/// The value that reaping compares.
fn reaping_counter(model: &LeaseModel, field: &MemberField) -> u8 {
    if model.is_mutant(Mutant::ReapByPosition) {
        field.acknowledged
    } else {
        field.renewal_counter
    }
}

/// The revoker after its response, without the values that have no effect any more.
fn responded(completion: Completion) -> Revoker {
    Revoker {
        stage: Stage::Responded(completion),
        ..Revoker::default()
    }
}
