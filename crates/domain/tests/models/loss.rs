//! Loss model: data loss of Redis, failover, rebuilds, and all check sources.
//!
//! Redis is flushed, loses its log, or fails over to a lagging server. Two rebuilders rebuild the
//! log. Each of them can be paused at any time and lose its lock.
//!
//! One process revokes a session, with early acknowledgement. The first replica is a member from
//! the start. The second one, if there are two, starts at any time. So it can also represent the
//! first one after a restart.
//!
//! Clocks agree in this model, and a lease and the drain period last one tick, because the lease
//! model covers drift. Each script is a single step. Responses to renewals can be late.

mod check;
mod rebuilder;
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
use check::{Check, CheckStage};
use rebuilder::Rebuilder;
use redis::Server;
use replica::Replica;
use revoker::{Completion, Revoker, Stage};

/// Lease length: one tick.
const LEASE_LENGTH: Duration = Duration::from_nanos(1);

/// Time of all clocks in every state. The model stores ages instead of times.
const NOW: BootTime = 100;

/// Maximum age that the model distinguishes.
const MAX_AGE_TICKS: u8 = 1;

/// Bounds of an exploration, and the mutant to explore.
#[derive(Debug, Clone, Copy)]
struct LossModel {
    /// Number of replicas that can hold leases.
    replicas: usize,
    /// Maximum number of flushes and deletions of the log.
    max_flushes: u8,
    /// Whether Redis can fail over, once, to a lagging server.
    has_failover: bool,
    /// Whether the old primary continues to run after the failover; otherwise it is stopped.
    ///
    /// Such a deposed primary rejects writes, because no follower replicates from it
    /// (`min-replicas-to-write`). It serves reads.
    has_deposed_primary: bool,
    rebuilders: usize,
    /// Maximum number of rebuilds that can begin.
    max_rebuilds: u8,
    /// Whether rebuilds replace a valid log, as `latchkey revocations rebuild` does.
    replaces_valid_log: bool,
    mutant: Option<Mutant>,
}

impl LossModel {
    const fn two_flushes(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            replicas: 1,
            max_flushes: 2,
            has_failover: false,
            has_deposed_primary: false,
            rebuilders: 1,
            max_rebuilds: 3,
            replaces_valid_log: false,
            mutant,
        }
    }

    /// Two rebuilders, which can be paused.
    const fn paused_rebuilder(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            rebuilders: 2,
            ..LossModel::two_flushes(mutant)
        }
    }

    /// A second replica, which starts at any time.
    const fn restart(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            replicas: 2,
            max_flushes: 1,
            max_rebuilds: 1,
            ..LossModel::two_flushes(mutant)
        }
    }

    /// Rebuilds that replace a valid log.
    const fn rebuild_on_request(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            max_flushes: 0,
            max_rebuilds: 2,
            replaces_valid_log: true,
            ..LossModel::restart(mutant)
        }
    }

    /// A failover to a lagging server.
    const fn failover(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            max_flushes: 0,
            has_failover: true,
            max_rebuilds: 2,
            ..LossModel::restart(mutant)
        }
    }

    /// A failover after which the deposed primary continues to run.
    const fn deposed_primary(mutant: Option<Mutant>) -> LossModel {
        LossModel {
            replicas: 1,
            has_deposed_primary: true,
            ..LossModel::failover(mutant)
        }
    }

    fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Whether PostgreSQL contains the revocation.
    is_committed: bool,
    redis: Server,
    deposed: Option<Server>,
    replicas: [Replica; 2],
    revoker: Revoker,
    rebuilders: [Rebuilder; 2],
    /// Rebuilder that holds the advisory lock in PostgreSQL.
    lock: Option<usize>,
    check: Option<Check>,
    /// Result of a statement for an earlier check: whether PostgreSQL contained the revocation.
    earlier_result: Option<bool>,
    flushes: u8,
    /// Nonce of the next epoch, which counts the rebuilds.
    next_nonce: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Flush,
    DeleteLog,
    /// A follower that has only the initial data becomes the primary.
    FailOver,
    /// The primary is demoted, copies the data of such a follower, and is promoted again.
    Resync,
    Replica(usize, replica::Step),
    Revoker(revoker::Step),
    Rebuilder(usize, rebuilder::Step),
    Check(check::Step),
}

impl Model for LossModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            is_committed: false,
            redis: Server::initial(),
            deposed: None,
            replicas: [Replica::member(), Replica::default()],
            revoker: Revoker::default(),
            rebuilders: [Rebuilder::Idle; 2],
            lock: None,
            check: None,
            earlier_result: None,
            flushes: 0,
            next_nonce: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.has_violation() {
            return;
        }
        actions.push(Action::Tick);
        state.add_losses(self, actions);
        for index in 0..self.replicas {
            state.add_replica_steps(index, |step| actions.push(Action::Replica(index, step)));
        }
        state.add_revoker_steps(self, |step| actions.push(Action::Revoker(step)));
        for index in 0..self.rebuilders {
            state.add_rebuilder_steps(self, index, |step| {
                actions.push(Action::Rebuilder(index, step))
            });
        }
        state.add_check_steps(self, |step| actions.push(Action::Check(step)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Flush | Action::DeleteLog | Action::FailOver | Action::Resync => {
                next.apply_loss(self, action);
            }
            Action::Replica(index, step) => next.apply_replica_step(self, index, step),
            Action::Revoker(step) => next.apply_revoker_step(self, step),
            Action::Rebuilder(index, step) => next.apply_rebuilder_step(self, index, step),
            Action::Check(step) => next.apply_check_step(self, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<LossModel>> {
        vec![
            Property::always(
                "no check that begins after the sign-out is accepted",
                |_, state: &State| !state.has_violation(),
            ),
            Property::always(
                "PostgreSQL contains every completed revocation",
                |_, state: &State| {
                    state.is_committed || !matches!(state.revoker.stage, Stage::Responded(_))
                },
            ),
            Property::sometimes(
                "memory accepts a check before the sign-out",
                |model, state: &State| state.can_accept_check(model, CheckSource::Memory),
            ),
            Property::sometimes(
                "Redis accepts a check before the sign-out",
                |model, state: &State| state.can_accept_check(model, CheckSource::Redis),
            ),
            Property::sometimes(
                "PostgreSQL accepts a check before the sign-out",
                |model, state: &State| state.can_accept_check(model, CheckSource::Postgres),
            ),
            Property::sometimes("a revocation responds early", |_, state: &State| {
                state.revoker.stage == Stage::Responded(Completion::Acknowledged)
            }),
            Property::sometimes(
                "a revocation responds after the drain period",
                |_, state: &State| state.revoker.stage == Stage::Responded(Completion::DrainPeriod),
            ),
            Property::sometimes(
                "a rebuilt log contains the revocation",
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
    fn has_violation(&self) -> bool {
        self.check
            .is_some_and(|check| matches!(check.stage, CheckStage::Accepted(_)))
    }

    /// Whether this source accepts a check that runs now without a pause, before the revocation.
    fn can_accept_check(&self, model: &LossModel, source: CheckSource) -> bool {
        self.revoker.stage == Stage::Idle && self.clone().run_check(model) == Some(source)
    }

    fn tick(&mut self) {
        self.replicas.iter_mut().for_each(Replica::tick);
        self.rebuilders.iter_mut().for_each(Rebuilder::tick);
        self.revoker.tick();
    }

    fn add_losses(&self, model: &LossModel, actions: &mut Vec<Action>) {
        if self.flushes < model.max_flushes {
            actions.extend([Action::Flush, Action::DeleteLog]);
        }
        if model.has_failover && self.redis.history_id == 0 {
            actions.extend([Action::FailOver, Action::Resync]);
        }
    }

    fn apply_loss(&mut self, model: &LossModel, action: Action) {
        match action {
            Action::Flush => {
                (self.redis.data, self.flushes) = (redis::Data::default(), self.flushes + 1)
            }
            Action::DeleteLog => (self.redis.data.log_length, self.flushes) = (0, self.flushes + 1),
            Action::FailOver | Action::Resync => {
                let run_id_increment = u8::from(action == Action::FailOver);
                let promoted = Server {
                    run_id: self.redis.run_id + run_id_increment,
                    history_id: 1,
                    ..Server::initial()
                };
                let old_primary = std::mem::replace(&mut self.redis, promoted);
                if action == Action::FailOver && model.has_deposed_primary {
                    self.deposed = Some(old_primary);
                    self.replicas
                        .iter_mut()
                        .for_each(Replica::stay_with_deposed);
                }
            }
            _other => {}
        }
    }
}

fn increment_age(age: u8) -> u8 {
    MAX_AGE_TICKS.min(age + 1)
}

/// The time `age` ticks ago.
fn ticks_ago(age: u8) -> BootTime {
    NOW - BootTime::from(age)
}

#[test]
fn two_flushes_keep_session_revoked() {
    report::assert_properties(
        "loss: two flushes, one replica",
        LossModel::two_flushes(None),
    );
}

#[test]
fn paused_rebuilder_keeps_session_revoked() {
    report::assert_properties(
        "loss: two flushes, two rebuilders, one replica",
        LossModel::paused_rebuilder(None),
    );
}

#[test]
fn replica_started_after_flush_rejects_session() {
    report::assert_properties("loss: one flush, two replicas", LossModel::restart(None));
}

#[test]
fn rebuild_on_request_keeps_session_revoked() {
    report::assert_properties(
        "loss: rebuild on request, two replicas",
        LossModel::rebuild_on_request(None),
    );
}

#[test]
fn failover_to_lagging_server_keeps_session_revoked() {
    report::assert_properties("loss: failover, two replicas", LossModel::failover(None));
}

#[test]
fn deposed_primary_keeps_session_revoked() {
    report::assert_properties(
        "loss: failover with a running deposed primary, one replica",
        LossModel::deposed_primary(None),
    );
}

#[test]
fn loss_model_catches_its_mutants() {
    report::assert_mutants_caught(Catcher::Loss, |mutant| match mutant {
        Mutant::NoEpochCheck | Mutant::EpochByRunId => LossModel {
            replicas: 1,
            ..LossModel::failover(Some(mutant))
        },
        Mutant::NoFence => LossModel::paused_rebuilder(Some(mutant)),
        Mutant::CheckOnlyReads => LossModel::deposed_primary(Some(mutant)),
        _other => LossModel::two_flushes(Some(mutant)),
    });
}
