//! A reconciler. Between two of its steps it may be paused for as long as anybody likes, and lose
//! its lock meanwhile.

use latchkey_domain::revocation::lease::drained_at;

use super::{super::mutants::Mutant, LEASE, Losses, NOW, State, ago, older, redis::Epoch};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconciler {
    Idle,
    /// So many ticks ago it began a log under this epoch.
    Begun {
        epoch: Epoch,
        age: u8,
    },
    /// It has read the record: whether the revocation is in it.
    Read {
        epoch: Epoch,
        recorded: bool,
    },
    /// The log is as long as this.
    Filled {
        epoch: Epoch,
        last: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It takes the lock, and its first script runs.
    Begin,
    /// The same, to replace a good log.
    Replace,
    /// The connection that holds the lock breaks, and nobody tells.
    LoseLock,
    Read,
    Fill,
    Finish,
}

impl Reconciler {
    pub fn tick(&mut self) {
        if let Reconciler::Begun { age, .. } = self {
            *age = older(*age);
        }
    }
}

impl State {
    pub fn steps_of_reconciler(&self, model: &Losses, at: usize, mut may: impl FnMut(Step)) {
        match self.reconcilers[at] {
            Reconciler::Idle => {
                // It does not matter which of the two is the first.
                let first = at == 0 || self.reconcilers[0] != Reconciler::Idle;
                if first && self.lock.is_none() && self.logs <= model.logs {
                    may(if model.rebuild {
                        Step::Replace
                    } else {
                        Step::Begin
                    });
                }
                return;
            }
            Reconciler::Begun { age, .. } => {
                if drained_at(ago(age), LEASE) <= NOW || model.is(Mutant::NoReconcilerWait) {
                    may(Step::Read);
                }
            }
            Reconciler::Read { .. } => may(Step::Fill),
            Reconciler::Filled { .. } => may(Step::Finish),
        }
        if self.lock == Some(at) && model.reconcilers > 1 {
            may(Step::LoseLock);
        }
    }

    pub fn step_of_reconciler(&mut self, model: &Losses, at: usize, step: Step) {
        let next = match (step, self.reconcilers[at]) {
            (Step::LoseLock, same) => {
                self.lock = None;
                same
            }
            (Step::Begin | Step::Replace, _) => {
                match self.redis.begin(model, self.logs, step == Step::Replace) {
                    Some(epoch) => {
                        (self.lock, self.logs) = (Some(at), self.logs + 1);
                        Reconciler::Begun { epoch, age: 0 }
                    }
                    None => Reconciler::Idle,
                }
            }
            (Step::Read, Reconciler::Begun { epoch, .. }) => Reconciler::Read {
                epoch,
                recorded: self.recorded,
            },
            // Nothing to fill in is no script.
            (
                Step::Fill,
                Reconciler::Read {
                    epoch,
                    recorded: false,
                },
            ) => Reconciler::Filled { epoch, last: 0 },
            (Step::Fill, Reconciler::Read { epoch, .. }) => match self.redis.fill(model, epoch) {
                true => Reconciler::Filled { epoch, last: 1 },
                false => Reconciler::Idle,
            },
            (Step::Finish, Reconciler::Filled { epoch, last }) => {
                self.redis.finish(model, epoch, last);
                Reconciler::Idle
            }
            (_, same) => same,
        };
        if next == Reconciler::Idle && self.lock == Some(at) {
            self.lock = None;
        }
        self.reconcilers[at] = next;
    }
}
