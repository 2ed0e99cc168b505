//! Lease model: registration, renewal, revocation, early acknowledgement, and reaping.
//!
//! One replica revokes a session and reaps members. Two other replicas can hold leases. Each of
//! them starts at any time. So the second one can also represent the first one after a restart,
//! with a new ID. Between any two steps of one process, all others can take steps: requests and
//! responses can be late without a limit.
//!
//! Time is counted in ticks. With four ticks per lease, the drain period has five ticks. The
//! clock of the replicas loses at most one of five ticks, relative to the clock of the revoking
//! replica. This is twice the drift that the protocol permits.
//!
//! The log initially contains one entry and a page contains one entry. So a replica that reads the
//! log from its beginning after the append needs two pages.

mod replica;
mod revoker;

use std::time::Duration;

use latchkey_domain::revocation::lease::{BootTime, drain_period};
use stateright::{Model, Property};

use super::{
    mutants::{Catcher, Mutant},
    report,
};
use replica::{Check, CheckStage, Replica};
use revoker::{Completion, Revoker, Stage};

/// Time of all clocks in every state.
///
/// The model stores ages instead of times, so that states which differ only in the time are equal.
const NOW: BootTime = 100;

/// Minimum number of ticks that the clock of the replicas counts between two lost ticks.
const MIN_TICKS_BETWEEN_LOST: u8 = 4;

const ENTRIES_PER_PAGE: u8 = 1;

/// Bounds of an exploration, and the mutant to explore.
#[derive(Debug, Clone, Copy)]
struct LeaseModel {
    /// Number of replicas that can hold leases.
    replicas: usize,
    /// Lease length in ticks. One tick is one nanosecond for the functions of the product.
    lease_ticks: u8,
    /// Whether the clock of the replicas can lose ticks.
    has_drift: bool,
    /// Maximum number of ticks between the clock reading and the lease reading of a check.
    max_check_delay: u8,
    /// Number of entries in the log before the revocation.
    initial_entries: u8,
    /// Whether a revocation can respond before the drain period has passed.
    has_early_acknowledgement: bool,
    /// Whether the revoking replica reaps members, and receives acknowledged positions late.
    has_reaping: bool,
    mutant: Option<Mutant>,
}

impl LeaseModel {
    /// Plain wait, with clock drift and more than one page.
    const fn plain_wait(mutant: Option<Mutant>) -> LeaseModel {
        let (lease_ticks, has_drift, max_check_delay) = (4, true, 2);
        LeaseModel {
            replicas: 1,
            lease_ticks,
            has_drift,
            max_check_delay,
            initial_entries: 1,
            has_early_acknowledgement: false,
            has_reaping: false,
            mutant,
        }
    }

    /// Early acknowledgement with two replicas. The second can be the first after a restart.
    const fn early_acknowledgement(mutant: Option<Mutant>) -> LeaseModel {
        LeaseModel {
            replicas: 2,
            lease_ticks: 1,
            has_drift: false,
            max_check_delay: 0,
            initial_entries: 1,
            has_early_acknowledgement: true,
            has_reaping: false,
            mutant,
        }
    }

    /// Early acknowledgement with reaping and late acknowledged positions.
    const fn reaping(mutant: Option<Mutant>) -> LeaseModel {
        LeaseModel {
            replicas: 1,
            initial_entries: 0,
            has_reaping: true,
            ..LeaseModel::early_acknowledgement(mutant)
        }
    }

    fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn lease(&self) -> Duration {
        Duration::from_nanos(u64::from(self.lease_ticks))
    }

    /// Lease length that the replicas use.
    fn replica_lease(&self) -> Duration {
        let additional_ticks = u8::from(self.is_mutant(Mutant::OwnLeaseLength));
        Duration::from_nanos(u64::from(self.lease_ticks + additional_ticks))
    }

    /// Maximum age in ticks that the model distinguishes.
    ///
    /// A lease of this age has expired for every check, however early the check read the clock.
    fn max_age(&self) -> u8 {
        self.lease_ticks + self.lease_ticks / 4 + 1 + self.max_check_delay
    }

    fn increment_age(&self, age: u8) -> u8 {
        self.max_age().min(age + 1)
    }

    /// Sequence number of the revocation in the log.
    fn revocation_number(&self) -> u8 {
        self.initial_entries + 1
    }
}

/// Content of Redis that the scripts of the log read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Redis {
    last: u8,
    members: [Option<MemberField>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct MemberField {
    acknowledged: u8,
    renewal_counter: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    redis: Redis,
    replicas: [Replica; 2],
    revoker: Revoker,
    check: Option<Check>,
    /// Ticks that the clock of the replicas has counted since it last lost one.
    ticks_since_lost: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// One tick of the revoking replica's clock. The clock of the replicas counts it or loses it.
    Tick {
        is_counted: bool,
    },
    Replica(usize, replica::Step),
    Revoker(revoker::Step),
}

impl Model for LeaseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            redis: Redis {
                last: self.initial_entries,
                members: [None; 2],
            },
            replicas: [Replica::default(); 2],
            revoker: Revoker::default(),
            check: None,
            ticks_since_lost: MIN_TICKS_BETWEEN_LOST,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.has_violation() {
            return;
        }
        if state.check.is_none_or(|check| {
            check.stage != CheckStage::Arrived || check.age < self.max_check_delay
        }) {
            actions.push(Action::Tick { is_counted: true });
            if self.has_drift && state.ticks_since_lost == MIN_TICKS_BETWEEN_LOST {
                actions.push(Action::Tick { is_counted: false });
            }
        }
        for index in 0..self.replicas {
            state.add_replica_steps(self, index, |step| {
                actions.push(Action::Replica(index, step))
            });
        }
        state.add_revoker_steps(self, |step| actions.push(Action::Revoker(step)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick { is_counted } => next.tick(self, is_counted),
            Action::Replica(index, step) => next.apply_replica_step(self, index, step),
            Action::Revoker(step) => next.apply_revoker_step(self, step),
        }
        next.renumber_renewal_counters(self);
        next.clear_expired_leases(self);
        next.discard_insufficient_positions(self);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<LeaseModel>> {
        let mut properties = vec![
            Property::always(
                "no check that begins after the sign-out is accepted",
                |_, state: &State| !state.has_violation(),
            ),
            Property::sometimes(
                "memory accepts a check before the sign-out",
                |model: &LeaseModel, state: &State| {
                    state.revoker.stage == Stage::Idle && model.is_leased(&state.replicas[0], NOW)
                },
            ),
            Property::sometimes(
                "memory decides a check that begins after the sign-out",
                |_, state: &State| {
                    state
                        .check
                        .is_some_and(|check| check.stage == CheckStage::Leased)
                },
            ),
            Property::sometimes(
                "a revocation responds after the drain period",
                |_, state: &State| state.revoker.stage == Stage::Responded(Completion::DrainPeriod),
            ),
        ];
        if self.has_early_acknowledgement {
            properties.push(Property::sometimes(
                "a revocation responds early",
                |_, state: &State| {
                    state.revoker.stage == Stage::Responded(Completion::Acknowledged)
                },
            ));
        }
        if self.has_reaping {
            properties.push(Property::sometimes(
                "a stopped member is about to be reaped",
                |_, state: &State| {
                    let counter = state.redis.members[0].map(|field| field.renewal_counter);
                    state.replicas[0].is_stopped()
                        && state
                            .revoker
                            .reap
                            .is_some_and(|reap| Some(reap.counter) == counter)
                },
            ));
        }
        properties
    }
}

impl State {
    /// Whether a check that began after the sign-out was accepted.
    fn has_violation(&self) -> bool {
        self.check
            .is_some_and(|check| check.stage == CheckStage::Accepted)
    }

    fn tick(&mut self, model: &LeaseModel, is_counted: bool) {
        self.revoker.tick(model);
        if model.has_drift {
            self.ticks_since_lost = if is_counted {
                MIN_TICKS_BETWEEN_LOST.min(self.ticks_since_lost + 1)
            } else {
                0
            };
        }
        if is_counted {
            self.replicas
                .iter_mut()
                .for_each(|replica| replica.tick(model));
            if let Some(check) = &mut self.check {
                check.age = model.increment_age(check.age);
            }
        }
    }

    /// Replaces the renewal counters of each member by the smallest possible numbers.
    ///
    /// A counter never repeats and is only compared for equality, so this merges equivalent states.
    fn renumber_renewal_counters(&mut self, model: &LeaseModel) {
        let are_relevant = model.has_reaping && !model.is_mutant(Mutant::ReapByPosition);
        for index in 0..2 {
            let Revoker {
                response,
                observed,
                reap,
                ..
            } = &mut self.revoker;
            let response = response
                .as_mut()
                .and_then(|response| response.members[index].as_mut());
            let fields = self.redis.members[index]
                .as_mut()
                .into_iter()
                .chain(response);
            let mut counters: Vec<&mut u8> =
                fields.map(|field| &mut field.renewal_counter).collect();
            if !are_relevant {
                counters.into_iter().for_each(|counter| *counter = 0);
                continue;
            }
            counters.extend(
                observed[index]
                    .as_mut()
                    .map(|observation| &mut observation.counter),
            );
            counters.extend(
                reap.as_mut()
                    .filter(|reap| reap.member == index)
                    .map(|reap| &mut reap.counter),
            );
            let mut distinct: Vec<u8> = counters.iter().map(|counter| **counter).collect();
            distinct.sort_unstable();
            distinct.dedup();
            for counter in counters {
                let rank = distinct
                    .iter()
                    .take_while(|other| **other < *counter)
                    .count();
                *counter = u8::try_from(rank).expect("at most four counters");
            }
        }
    }
}

/// The time `age` ticks ago.
fn ticks_ago(age: u8) -> BootTime {
    NOW - BootTime::from(age)
}

#[test]
fn plain_wait_outlasts_every_older_lease() {
    assert_eq!(
        drain_period(LeaseModel::plain_wait(None).lease()),
        Duration::from_nanos(5)
    );
    report::assert_properties(
        "lease: plain wait, drift, one replica",
        LeaseModel::plain_wait(None),
    );
}

#[test]
fn early_acknowledgement_includes_every_replica() {
    report::assert_properties(
        "lease: early acknowledgement, two replicas",
        LeaseModel::early_acknowledgement(None),
    );
}

#[test]
fn reaping_removes_no_member_with_a_lease() {
    report::assert_properties(
        "lease: early acknowledgement, late positions, reaping, one replica",
        LeaseModel::reaping(None),
    );
}

#[test]
fn lease_model_catches_its_mutants() {
    report::assert_mutants_caught(Catcher::Lease, |mutant| match mutant {
        Mutant::PartialPageRenews => LeaseModel {
            has_drift: false,
            ..LeaseModel::plain_wait(Some(mutant))
        },
        Mutant::WaitOneLease => LeaseModel {
            initial_entries: 0,
            max_check_delay: 0,
            ..LeaseModel::plain_wait(Some(mutant))
        },
        Mutant::ReapByPosition | Mutant::ReapWithoutComparing => LeaseModel::reaping(Some(mutant)),
        _other => LeaseModel {
            replicas: 1,
            ..LeaseModel::early_acknowledgement(Some(mutant))
        },
    });
}
