//! A rebuilder. Between two steps it can be paused for any time, and lose its lock meanwhile.

use latchkey_domain::revocation::lease::drained_at;

use super::{
    super::mutants::Mutant, LEASE_LENGTH, LossModel, NOW, State, increment_age, redis::Epoch,
    ticks_ago,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rebuilder {
    Idle,
    /// The fence of this epoch was set `age` ticks ago.
    Begun {
        epoch: Epoch,
        age: u8,
    },
    /// The revocation rows are read. They contain the revocation if it was committed.
    Read {
        epoch: Epoch,
        is_committed: bool,
    },
    /// The log is filled up to this sequence number.
    Filled {
        epoch: Epoch,
        last: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Takes the lock and runs the first script.
    Begin,
    /// Takes the lock and runs the first script, which replaces a valid log.
    Replace,
    /// The connection that holds the lock breaks, which the rebuilder does not detect.
    LoseLock,
    Read,
    Fill,
    Finish,
}

impl Rebuilder {
    pub fn tick(&mut self) {
        if let Rebuilder::Begun { age, .. } = self {
            *age = increment_age(*age);
        }
    }
}

impl State {
    pub fn add_rebuilder_steps(&self, model: &LossModel, index: usize, mut add: impl FnMut(Step)) {
        match self.rebuilders[index] {
            Rebuilder::Idle => {
                // The rebuilders are interchangeable, so the first one always begins first.
                let is_next = index == 0 || self.rebuilders[0] != Rebuilder::Idle;
                if is_next && self.lock.is_none() && self.next_nonce <= model.max_rebuilds {
                    add(if model.replaces_valid_log {
                        Step::Replace
                    } else {
                        Step::Begin
                    });
                }
                return;
            }
            Rebuilder::Begun { age, .. } => {
                if drained_at(ticks_ago(age), LEASE_LENGTH) <= NOW
                    || model.is_mutant(Mutant::NoRebuilderWait)
                {
                    add(Step::Read);
                }
            }
            Rebuilder::Read { .. } => add(Step::Fill),
            Rebuilder::Filled { .. } => add(Step::Finish),
        }
        if self.lock == Some(index) && model.rebuilders > 1 {
            add(Step::LoseLock);
        }
    }

    pub fn apply_rebuilder_step(&mut self, model: &LossModel, index: usize, step: Step) {
        let next = match (step, self.rebuilders[index]) {
            (Step::LoseLock, unchanged) => {
                self.lock = None;
                unchanged
            }
            (Step::Begin | Step::Replace, _) => {
                match self
                    .redis
                    .begin_rebuild(model, self.next_nonce, step == Step::Replace)
                {
                    Some(epoch) => {
                        (self.lock, self.next_nonce) = (Some(index), self.next_nonce + 1);
                        Rebuilder::Begun { epoch, age: 0 }
                    }
                    None => Rebuilder::Idle,
                }
            }
            (Step::Read, Rebuilder::Begun { epoch, .. }) => Rebuilder::Read {
                epoch,
                is_committed: self.is_committed,
            },
            // Without rows, the rebuilder runs no fill script.
            (
                Step::Fill,
                Rebuilder::Read {
                    epoch,
                    is_committed: false,
                },
            ) => Rebuilder::Filled { epoch, last: 0 },
            (Step::Fill, Rebuilder::Read { epoch, .. }) => {
                match self.redis.fill_rebuild(model, epoch) {
                    true => Rebuilder::Filled { epoch, last: 1 },
                    false => Rebuilder::Idle,
                }
            }
            (Step::Finish, Rebuilder::Filled { epoch, last }) => {
                self.redis.finish_rebuild(model, epoch, last);
                Rebuilder::Idle
            }
            (_, unchanged) => unchanged,
        };
        if next == Rebuilder::Idle && self.lock == Some(index) {
            self.lock = None;
        }
        self.rebuilders[index] = next;
    }
}
