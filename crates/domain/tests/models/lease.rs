//! The model of leases: reading, renewing, revoking, and the early return with its reaper.
//!
//! Somebody revokes one session and reaps; two replicas may hold leases. Each of the two starts at
//! any time, so that the second is another replica, or the first after a restart, with a new id.
//! Between any two steps of one, all others may take theirs: requests to Redis wait before they
//! run, and answers before they are read, as long as they like.
//!
//! Time goes in ticks. A lease has four of them, so W has five; the clock of the replicas loses at
//! most one tick of any five beside that of the revoker, which is twice the drift that the protocol
//! allows. The log has one entry when all begins and a page holds one, so that whoever reads it
//! from its beginning once the revocation is appended needs two.

mod replica;
mod revoker;

use std::time::Duration;

use latchkey_domain::revocation::lease::{BootTime, drain_period};
use stateright::{Model, Property};

use super::{
    mutants::{Catcher, Mutant},
    report,
};
use replica::{Check, Look, Replica};
use revoker::{By, Revoker, Stage};

/// All clocks are at this moment all the time, and what they measured moves away from it: states
/// that differ only by the time of day are one.
const NOW: BootTime = 100;

/// Ticks of the replicas' clock between two that it loses.
const SLOWEST: u8 = 4;

/// Entries of a page.
const PAGE: u8 = 1;

/// What is explored, and what is changed.
#[derive(Debug, Clone, Copy)]
struct Leases {
    /// How many replicas may hold leases.
    replicas: usize,
    /// The length of a lease, in ticks. Ticks are nanoseconds here, so that the product's functions
    /// count in them.
    lease: u8,
    /// Whether the replicas' clock is slow.
    drift: bool,
    /// Ticks that a check may take from the clock to the lease.
    slow_look: u8,
    /// Entries in the log before the revocation.
    before: u8,
    /// Whether a revocation may return before the wait is over.
    early: bool,
    /// Whether the revoker removes members, and hears late of what they say.
    reaper: bool,
    mutant: Option<Mutant>,
}

impl Leases {
    /// The plain wait with clocks that drift apart; limited pages.
    const fn drift(mutant: Option<Mutant>) -> Leases {
        let (lease, drift, slow_look) = (4, true, 2);
        Leases {
            replicas: 1,
            lease,
            drift,
            slow_look,
            before: 1,
            early: false,
            reaper: false,
            mutant,
        }
    }

    /// The early return; two replicas, the second of which may be the first after a restart.
    const fn early(mutant: Option<Mutant>) -> Leases {
        Leases {
            replicas: 2,
            lease: 1,
            drift: false,
            slow_look: 0,
            before: 1,
            early: true,
            reaper: false,
            mutant,
        }
    }

    /// The early return with a reaper, and with reports that come late.
    const fn reaper(mutant: Option<Mutant>) -> Leases {
        Leases {
            replicas: 1,
            before: 0,
            reaper: true,
            ..Leases::early(mutant)
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn lease(&self) -> Duration {
        Duration::from_nanos(u64::from(self.lease))
    }

    /// The length of a lease at the replicas.
    fn own_lease(&self) -> Duration {
        Duration::from_nanos(u64::from(self.lease + u8::from(self.is(Mutant::OwnLease))))
    }

    /// No age beyond makes a difference: whatever is as old is over, for whoever has read the clock
    /// as early as may be.
    fn old(&self) -> u8 {
        self.lease + self.lease / 4 + 1 + self.slow_look
    }

    fn older(&self, age: u8) -> u8 {
        self.old().min(age + 1)
    }

    /// The number of the revocation in the log.
    fn revoked(&self) -> u8 {
        self.before + 1
    }
}

/// What the scripts of the log read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Redis {
    last: u8,
    members: [Option<Field>; 2],
}

/// The field of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Field {
    applied: u8,
    beat: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    redis: Redis,
    replicas: [Replica; 2],
    revoker: Revoker,
    /// A check, on one of the replicas.
    check: Option<Check>,
    /// Ticks since the replicas' clock has lost one.
    since_loss: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Time goes on; for the replicas' clock, or not for that.
    Tick {
        counted: bool,
    },
    Replica(usize, replica::Step),
    Revoker(revoker::Step),
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            redis: Redis {
                last: self.before,
                members: [None; 2],
            },
            replicas: [Replica::default(); 2],
            revoker: Revoker::default(),
            check: None,
            since_loss: SLOWEST,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_broken() {
            return;
        }
        if state
            .check
            .is_none_or(|check| check.look != Look::Arrived || check.age < self.slow_look)
        {
            actions.push(Action::Tick { counted: true });
            if self.drift && state.since_loss == SLOWEST {
                actions.push(Action::Tick { counted: false });
            }
        }
        for at in 0..self.replicas {
            state.steps_of_replica(self, at, |step| actions.push(Action::Replica(at, step)));
        }
        state.steps_of_revoker(self, |step| actions.push(Action::Revoker(step)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick { counted } => next.tick(self, counted),
            Action::Replica(at, step) => next.step_of_replica(self, at, step),
            Action::Revoker(step) => next.step_of_revoker(self, step),
        }
        next.count_beats_anew(self);
        next.forget_leases(self);
        next.forget_reports(self);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Leases>> {
        let mut properties = vec![
            Property::always(
                "no check that began after the logout is accepted",
                |_, state: &State| !state.is_broken(),
            ),
            Property::sometimes(
                "memory would allow a check",
                |model: &Leases, state: &State| {
                    state.revoker.stage == Stage::Idle && model.is_leased(&state.replicas[0], NOW)
                },
            ),
            Property::sometimes(
                "memory answers a check that began after the logout",
                |_, state: &State| state.check.is_some_and(|check| check.look == Look::Leased),
            ),
            Property::sometimes("a revocation has waited", |_, state: &State| {
                state.revoker.stage == Stage::Returned(By::Wait)
            }),
        ];
        if self.early {
            properties.push(Property::sometimes(
                "a revocation has returned early",
                |_, state: &State| {
                    state.revoker.stage == Stage::Returned(By::AcknowledgedPositions)
                },
            ));
        }
        if self.reaper {
            properties.push(Property::sometimes(
                "a dead member is about to be removed",
                |_, state: &State| {
                    let beat = state.redis.members[0].map(|field| field.beat);
                    state.replicas[0].is_dead()
                        && state
                            .revoker
                            .reap
                            .is_some_and(|reap| Some(reap.mark) == beat)
                },
            ));
        }
        properties
    }
}

impl State {
    /// A check that began after the logout was accepted.
    fn is_broken(&self) -> bool {
        self.check.is_some_and(|check| check.look == Look::Accepted)
    }

    fn tick(&mut self, model: &Leases, counted: bool) {
        self.revoker.tick(model);
        if model.drift {
            self.since_loss = if counted {
                SLOWEST.min(self.since_loss + 1)
            } else {
                0
            };
        }
        if counted {
            self.replicas
                .iter_mut()
                .for_each(|replica| replica.tick(model));
            if let Some(check) = &mut self.check {
                check.age = model.older(check.age);
            }
        }
    }

    /// A beat never comes again, and nothing but whether two are equal matters: so the least
    /// numbers will do.
    fn count_beats_anew(&mut self, model: &Leases) {
        let counts = model.reaper && !model.is(Mutant::ReaperByPosition);
        for at in 0..2 {
            let Revoker {
                heard, seen, reap, ..
            } = &mut self.revoker;
            let heard = heard.as_mut().and_then(|heard| heard.members[at].as_mut());
            let fields = self.redis.members[at].as_mut().into_iter().chain(heard);
            let mut beats: Vec<&mut u8> = fields.map(|field| &mut field.beat).collect();
            if !counts {
                beats.into_iter().for_each(|beat| *beat = 0);
                continue;
            }
            beats.extend(seen[at].as_mut().map(|seen| &mut seen.mark));
            beats.extend(
                reap.as_mut()
                    .filter(|reap| reap.member == at)
                    .map(|reap| &mut reap.mark),
            );
            let mut known: Vec<u8> = beats.iter().map(|beat| **beat).collect();
            known.sort_unstable();
            known.dedup();
            for beat in beats {
                let rank = known.iter().take_while(|other| **other < *beat).count();
                *beat = u8::try_from(rank).expect("there are four of them at most");
            }
        }
    }
}

/// The moment so many ticks ago.
fn ago(age: u8) -> BootTime {
    NOW - BootTime::from(age)
}

#[test]
fn the_plain_wait_outlasts_every_lease() {
    assert_eq!(
        drain_period(Leases::drift(None).lease()),
        Duration::from_nanos(5)
    );
    report::holds("lease: plain wait, drift, one replica", Leases::drift(None));
}

#[test]
fn the_early_return_leaves_nobody_out() {
    report::holds("lease: early return, two replicas", Leases::early(None));
}

#[test]
fn the_reaper_removes_nobody_who_holds_a_lease() {
    report::holds(
        "lease: early return, late reports, reaper, one replica",
        Leases::reaper(None),
    );
}

#[test]
fn every_mutant_of_leases_is_caught() {
    report::catches(Catcher::Lease, |mutant| match mutant {
        Mutant::LimitedReadRenews => Leases {
            drift: false,
            ..Leases::drift(Some(mutant))
        },
        Mutant::WaitOneLease => Leases {
            before: 0,
            slow_look: 0,
            ..Leases::drift(Some(mutant))
        },
        Mutant::ReaperByPosition | Mutant::ReaperWithoutComparing => Leases::reaper(Some(mutant)),
        _other => Leases {
            replicas: 1,
            ..Leases::early(Some(mutant))
        },
    });
}
