//! The model of losses: Redis is flushed, loses its log, or fails over to a replica that lags; two
//! reconcilers build the log anew, each of which may be paused at any moment and lose its lock; and
//! checks climb down the ladder.
//!
//! Somebody revokes one session, with the early return on. One replica is a member from the
//! beginning; where there are two, the second starts at any time: another replica, or the first
//! after a restart. Clocks agree here and a lease is one tick, as is W: drift is the matter of the
//! model of leases. Scripts are single steps; the answers to renewals may be late.

mod check;
mod reconciler;
mod redis;
mod replica;
mod revoker;

use std::time::Duration;

use latchkey_domain::revocation::lease::{BootTime, CheckSource};
use stateright::{Model, Property};

use super::{
    mutants::{Catcher, Mutant},
    report,
};
use check::{Check, Look};
use reconciler::Reconciler;
use redis::Server;
use replica::Replica;
use revoker::{By, Revoker, Stage};

/// The length of a lease: one tick.
const LEASE: Duration = Duration::from_nanos(1);

/// All clocks are at this moment all the time, and what they measured moves away from it.
const NOW: BootTime = 100;

/// No age beyond makes a difference.
const OLD: u8 = 1;

/// What is explored, and what is changed.
#[derive(Debug, Clone, Copy)]
struct Losses {
    /// How many replicas may hold leases.
    replicas: usize,
    /// How often Redis may be flushed, or lose its log only.
    flushes: u8,
    /// Whether it may fail over, once, to a replica that lags.
    failover: bool,
    /// Whether the old master goes on then: it refuses writes, because no replica follows it
    /// (`min-replicas-to-write`), and answers who only reads. Else it is stopped.
    deposed: bool,
    reconcilers: usize,
    /// How many logs may be begun.
    logs: u8,
    /// Whether a good log may be replaced, which is what `latchkey revocations rebuild` does.
    rebuild: bool,
    mutant: Option<Mutant>,
}

impl Losses {
    /// Two flushes.
    const fn flushes(mutant: Option<Mutant>) -> Losses {
        Losses {
            replicas: 1,
            flushes: 2,
            failover: false,
            deposed: false,
            reconcilers: 1,
            logs: 3,
            rebuild: false,
            mutant,
        }
    }

    /// Two reconcilers, which may be paused.
    const fn paused(mutant: Option<Mutant>) -> Losses {
        Losses {
            reconcilers: 2,
            ..Losses::flushes(mutant)
        }
    }

    /// A replica that starts later.
    const fn restart(mutant: Option<Mutant>) -> Losses {
        Losses {
            replicas: 2,
            flushes: 1,
            logs: 1,
            ..Losses::flushes(mutant)
        }
    }

    /// Logs that are replaced although they are good.
    const fn rebuild(mutant: Option<Mutant>) -> Losses {
        Losses {
            flushes: 0,
            logs: 2,
            rebuild: true,
            ..Losses::restart(mutant)
        }
    }

    /// A failover to a replica that lags.
    const fn failover(mutant: Option<Mutant>) -> Losses {
        Losses {
            flushes: 0,
            failover: true,
            logs: 2,
            ..Losses::restart(mutant)
        }
    }

    /// One that does not know that there is another master by now.
    const fn deposed(mutant: Option<Mutant>) -> Losses {
        Losses {
            replicas: 1,
            deposed: true,
            ..Losses::failover(mutant)
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Whether the record holds the revocation.
    recorded: bool,
    redis: Server,
    /// A master that was deposed and is still there.
    old: Option<Server>,
    replicas: [Replica; 2],
    revoker: Revoker,
    reconcilers: [Reconciler; 2],
    /// Who holds the lock in PostgreSQL.
    lock: Option<usize>,
    check: Option<Check>,
    /// The answer of the record to a check that began before, on its way.
    read: Option<bool>,
    flushes: u8,
    /// Logs that were begun: the next nonce.
    logs: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Flush,
    DeleteLog,
    /// A replica that has heard nothing of the master since all began becomes the master.
    FailOver,
    /// The master is demoted, takes over what such a replica has, and becomes the master again.
    Resync,
    Replica(usize, replica::Step),
    Revoker(revoker::Step),
    Reconciler(usize, reconciler::Step),
    Check(check::Step),
}

impl Model for Losses {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            recorded: false,
            redis: Server::at_first(),
            old: None,
            replicas: [Replica::member(), Replica::default()],
            revoker: Revoker::default(),
            reconcilers: [Reconciler::Idle; 2],
            lock: None,
            check: None,
            read: None,
            flushes: 0,
            logs: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_broken() {
            return;
        }
        actions.push(Action::Tick);
        state.losses(self, actions);
        for at in 0..self.replicas {
            state.steps_of_replica(at, |step| actions.push(Action::Replica(at, step)));
        }
        state.steps_of_revoker(self, |step| actions.push(Action::Revoker(step)));
        for at in 0..self.reconcilers {
            state.steps_of_reconciler(self, at, |step| actions.push(Action::Reconciler(at, step)));
        }
        state.steps_of_check(self, |step| actions.push(Action::Check(step)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Flush | Action::DeleteLog | Action::FailOver | Action::Resync => {
                next.lose(self, action);
            }
            Action::Replica(at, step) => next.step_of_replica(self, at, step),
            Action::Revoker(step) => next.step_of_revoker(self, step),
            Action::Reconciler(at, step) => next.step_of_reconciler(self, at, step),
            Action::Check(step) => next.step_of_check(self, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Losses>> {
        vec![
            Property::always(
                "no check that began after the logout is accepted",
                |_, state: &State| !state.is_broken(),
            ),
            Property::always(
                "the record holds every finished revocation",
                |_, state: &State| {
                    state.recorded || !matches!(state.revoker.stage, Stage::Returned(_))
                },
            ),
            Property::sometimes("memory would allow a check", |model, state: &State| {
                state.would_allow(model, CheckSource::Memory)
            }),
            Property::sometimes("Redis would allow a check", |model, state: &State| {
                state.would_allow(model, CheckSource::Redis)
            }),
            Property::sometimes("the record would allow a check", |model, state: &State| {
                state.would_allow(model, CheckSource::Postgres)
            }),
            Property::sometimes("a revocation has returned early", |_, state: &State| {
                state.revoker.stage == Stage::Returned(By::AcknowledgedPositions)
            }),
            Property::sometimes("a revocation has waited", |_, state: &State| {
                state.revoker.stage == Stage::Returned(By::Wait)
            }),
            Property::sometimes(
                "the log was built anew, and has the revocation",
                |_, state: &State| {
                    state
                        .redis
                        .data
                        .state
                        .is_some_and(|log| log.epoch.nonce > 0 && log.last > 0)
                },
            ),
        ]
    }
}

impl State {
    fn is_broken(&self) -> bool {
        self.check
            .is_some_and(|check| matches!(check.look, Look::Allowed(_)))
    }

    /// Whether a check that begins at this moment, when nothing is revoked yet, and is done at
    /// once, is allowed by this rung.
    fn would_allow(&self, model: &Losses, rung: CheckSource) -> bool {
        self.revoker.stage == Stage::Idle && self.clone().ask(model) == Some(rung)
    }

    fn tick(&mut self) {
        self.replicas.iter_mut().for_each(Replica::tick);
        self.reconcilers.iter_mut().for_each(Reconciler::tick);
        self.revoker.tick();
    }

    fn losses(&self, model: &Losses, actions: &mut Vec<Action>) {
        if self.flushes < model.flushes {
            actions.extend([Action::Flush, Action::DeleteLog]);
        }
        if model.failover && self.redis.history == 0 {
            actions.extend([Action::FailOver, Action::Resync]);
        }
    }

    fn lose(&mut self, model: &Losses, action: Action) {
        match action {
            Action::Flush => {
                (self.redis.data, self.flushes) = (redis::Data::default(), self.flushes + 1)
            }
            Action::DeleteLog => (self.redis.data.log, self.flushes) = (0, self.flushes + 1),
            Action::FailOver | Action::Resync => {
                let other = u8::from(action == Action::FailOver);
                let promoted = Server {
                    id: self.redis.id + other,
                    history: 1,
                    ..Server::at_first()
                };
                let before = std::mem::replace(&mut self.redis, promoted);
                if action == Action::FailOver && model.deposed {
                    self.old = Some(before);
                    self.replicas.iter_mut().for_each(Replica::stay_with_old);
                }
            }
            _other => {}
        }
    }
}

fn older(age: u8) -> u8 {
    OLD.min(age + 1)
}

/// The moment so many ticks ago.
fn ago(age: u8) -> BootTime {
    NOW - BootTime::from(age)
}

#[test]
fn two_flushes_bring_nothing_back() {
    report::holds("loss: two flushes, one replica", Losses::flushes(None));
}

#[test]
fn a_paused_reconciler_brings_nothing_back() {
    report::holds(
        "loss: two flushes, two reconcilers, one replica",
        Losses::paused(None),
    );
}

#[test]
fn a_replica_that_starts_after_a_flush_knows_enough() {
    report::holds("loss: one flush, two replicas", Losses::restart(None));
}

#[test]
fn a_log_that_is_replaced_leaves_nothing_out() {
    report::holds(
        "loss: rebuilt on request, two replicas",
        Losses::rebuild(None),
    );
}

#[test]
fn a_failover_to_a_replica_that_lags_brings_nothing_back() {
    report::holds("loss: failover, two replicas", Losses::failover(None));
}

#[test]
fn a_deposed_master_lets_nothing_pass() {
    report::holds(
        "loss: failover, the old master goes on, one replica",
        Losses::deposed(None),
    );
}

#[test]
fn every_mutant_of_losses_is_caught() {
    report::catches(Catcher::Loss, |mutant| match mutant {
        Mutant::NoEpochCheck | Mutant::EpochByRunId => Losses {
            replicas: 1,
            ..Losses::failover(Some(mutant))
        },
        Mutant::NoFence => Losses::paused(Some(mutant)),
        Mutant::CheckOnlyReads => Losses::deposed(Some(mutant)),
        _other => Losses::flushes(Some(mutant)),
    });
}
