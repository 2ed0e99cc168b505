//! The revoking process: commit, append, and wait. It holds no lease in this model.

use std::collections::{BTreeMap, BTreeSet};

use latchkey_domain::revocation::lease::{
    AcknowledgedPositions, AppendedEntry, drained_at, is_enforced,
};

use super::{
    LEASE_LENGTH, LossModel, NOW, State, increment_age,
    redis::{Epoch, LogState},
    ticks_ago,
};

/// One revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Revoker {
    pub stage: Stage,
    /// Ticks since the response to the append arrived.
    age: u8,
    /// Response of the append script.
    appended: Option<LogState>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// PostgreSQL contains the revocation. A republish or a repeated revocation starts here.
    Committed,
    /// The log contains the entry, and the response is in flight.
    Appended,
    Waiting,
    Responded(Completion),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completion {
    DrainPeriod,
    Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Commit,
    /// Appends the entry. Without an epoch, the append has no effect and can be repeated.
    Append,
    ReadAppendResponse,
    RespondEarly,
    RespondAfterDrainPeriod,
}

impl Revoker {
    pub fn tick(&mut self) {
        if self.stage == Stage::Waiting {
            self.age = increment_age(self.age);
        }
    }
}

impl State {
    /// The acknowledged positions, without delay. The lease model covers late positions.
    fn acknowledged_positions(&self, log: &LogState) -> AcknowledgedPositions<Epoch, usize> {
        let applied: BTreeMap<_, _> = (0..2)
            .filter_map(|index| Some((index, u64::from(log.members[index]?))))
            .collect();
        AcknowledgedPositions {
            epoch: log.epoch,
            last: u64::from(log.last),
            applied,
        }
    }

    fn can_respond_early(&self, model: &LossModel) -> bool {
        let (Some(appended), Some(log)) = (&self.revoker.appended, self.redis.log_of(model)) else {
            return false;
        };
        let members: BTreeSet<_> = (0..2)
            .filter(|index| appended.members[*index].is_some())
            .collect();
        let appended = AppendedEntry {
            epoch: appended.epoch,
            number: u64::from(appended.last),
            members,
        };
        is_enforced(&appended, &usize::MAX, &self.acknowledged_positions(&log))
    }

    pub fn add_revoker_steps(&self, model: &LossModel, mut add: impl FnMut(Step)) {
        match self.revoker.stage {
            Stage::Idle => add(Step::Commit),
            Stage::Committed => add(Step::Append),
            Stage::Appended => add(Step::ReadAppendResponse),
            Stage::Waiting => {
                if self.can_respond_early(model) {
                    add(Step::RespondEarly);
                }
                if drained_at(ticks_ago(self.revoker.age), LEASE_LENGTH) <= NOW {
                    add(Step::RespondAfterDrainPeriod);
                }
            }
            Stage::Responded(_) => {}
        }
    }

    pub fn apply_revoker_step(&mut self, model: &LossModel, step: Step) {
        let revoker = &mut self.revoker;
        match step {
            Step::Commit => (self.is_committed, revoker.stage) = (true, Stage::Committed),
            Step::Append => {
                if let Some(log) = self.redis.revoke(model) {
                    (revoker.stage, revoker.appended) = (Stage::Appended, Some(log));
                }
            }
            Step::ReadAppendResponse => (revoker.stage, revoker.age) = (Stage::Waiting, 0),
            Step::RespondEarly => self.revoker = responded(Completion::Acknowledged),
            Step::RespondAfterDrainPeriod => self.revoker = responded(Completion::DrainPeriod),
        }
    }
}

/// The revoker after its response, without the values that have no effect any more.
fn responded(completion: Completion) -> Revoker {
    Revoker {
        stage: Stage::Responded(completion),
        ..Revoker::default()
    }
}
