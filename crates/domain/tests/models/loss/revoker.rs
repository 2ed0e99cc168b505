//! Whoever revokes: the record, the log, and the wait. It holds no lease itself.

use std::collections::{BTreeMap, BTreeSet};

use latchkey_domain::revocation::lease::{
    AcknowledgedPositions, AppendedEntry, drained_at, is_enforced,
};

use super::{
    LEASE, Losses, NOW, State, ago, older,
    redis::{Epoch, Log},
};

/// One revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Revoker {
    pub stage: Stage,
    /// Ticks since the append was answered.
    age: u8,
    /// What the script said.
    appended: Option<Log>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// The record has it. The publisher, and whoever repeats the revocation, goes on from here.
    Recorded,
    /// The log has it; the answer is on its way.
    AppendedEntry,
    Waiting,
    Returned(By),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    Wait,
    AcknowledgedPositions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Record,
    /// Where the log is lost nothing is claimed, and it is tried again.
    Append,
    Hear,
    ReturnEarly,
    ReturnAfterWait,
}

impl Revoker {
    pub fn tick(&mut self) {
        if self.stage == Stage::Waiting {
            self.age = older(self.age);
        }
    }
}

impl State {
    /// What members say under the log of this moment is heard at once: how old it may be is the
    /// matter of the other model.
    fn reports(&self, log: &Log) -> AcknowledgedPositions<Epoch, usize> {
        let applied: BTreeMap<_, _> = (0..2)
            .filter_map(|at| Some((at, u64::from(log.members[at]?))))
            .collect();
        AcknowledgedPositions {
            epoch: log.epoch,
            last: u64::from(log.last),
            applied,
        }
    }

    fn may_return_early(&self, model: &Losses) -> bool {
        let (Some(appended), Some(log)) = (&self.revoker.appended, self.redis.log_of(model)) else {
            return false;
        };
        let members: BTreeSet<_> = (0..2)
            .filter(|at| appended.members[*at].is_some())
            .collect();
        let appended = AppendedEntry {
            epoch: appended.epoch,
            number: u64::from(appended.last),
            members,
        };
        is_enforced(&appended, &usize::MAX, &self.reports(&log))
    }

    pub fn steps_of_revoker(&self, model: &Losses, mut may: impl FnMut(Step)) {
        match self.revoker.stage {
            Stage::Idle => may(Step::Record),
            Stage::Recorded => may(Step::Append),
            Stage::AppendedEntry => may(Step::Hear),
            Stage::Waiting => {
                if self.may_return_early(model) {
                    may(Step::ReturnEarly);
                }
                if drained_at(ago(self.revoker.age), LEASE) <= NOW {
                    may(Step::ReturnAfterWait);
                }
            }
            Stage::Returned(_) => {}
        }
    }

    pub fn step_of_revoker(&mut self, model: &Losses, step: Step) {
        let revoker = &mut self.revoker;
        match step {
            Step::Record => (self.recorded, revoker.stage) = (true, Stage::Recorded),
            Step::Append => {
                if let Some(log) = self.redis.revoke(model) {
                    (revoker.stage, revoker.appended) = (Stage::AppendedEntry, Some(log));
                }
            }
            Step::Hear => (revoker.stage, revoker.age) = (Stage::Waiting, 0),
            Step::ReturnEarly => self.revoker = returned(By::AcknowledgedPositions),
            Step::ReturnAfterWait => self.revoker = returned(By::Wait),
        }
    }
}

/// What it knew is of no use any more.
fn returned(by: By) -> Revoker {
    Revoker {
        stage: Stage::Returned(by),
        ..Revoker::default()
    }
}
