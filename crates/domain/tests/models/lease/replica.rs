//! A replica: its keeper, and a check that passes by.

use latchkey_domain::revocation::lease::{
    BootTime, LogPosition, Renewal, accept_renewal, is_lease_valid, lease_end,
};

use super::{super::mutants::Mutant, Field, Leases, NOW, PAGE, State, ago, revoker::Stage};

/// One process that may hold a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    life: Life,
    /// How far memory follows the log; nothing where it is to be read from its beginning.
    position: Option<u8>,
    /// Whether the revocation is in memory. Memory only grows, also where the log is read once
    /// more.
    knows: bool,
    /// The end of the lease, in ticks after [`Leases::dawn`]; 0 where there is none that anybody
    /// could ask about.
    end: u8,
    call: Call,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Life {
    #[default]
    Absent,
    Running,
    /// Killed, or stopped: its lease went with it. Its last word may come or not.
    Dead,
}

/// What the keeper waits for: it asks one thing after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Call {
    #[default]
    Nothing,
    Join,
    Joined,
    /// Sent so many ticks ago.
    Renew {
        age: u8,
    },
    /// The answer to it: the entries after mine, of a log that ended there.
    Page {
        age: u8,
        last: u8,
    },
    Strange,
}

/// A check that has arrived after the logout was answered. Those that begin before prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check {
    pub on: usize,
    /// Ticks since it read the clock.
    pub age: u8,
    pub look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    Arrived,
    /// It has a lease, and looks at the set next.
    Leased,
    /// It has not found an entry, and looks at the lease next: only where that is the wrong way
    /// round.
    Missed,
    Accepted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    Die,
    /// The script with which a clean stop ends.
    LastWord,
    Join,
    Renew,
    /// The script of the call runs in Redis.
    Run,
    /// Its answer is read.
    Read,
    /// Its answer never comes.
    Lose,
    Arrive,
    LookFirst,
    LookSecond,
}

impl Replica {
    pub fn is_dead(&self) -> bool {
        self.life == Life::Dead
    }

    pub fn tick(&mut self, model: &Leases) {
        self.end = self.end.saturating_sub(1);
        if let Call::Renew { age } | Call::Page { age, .. } = &mut self.call {
            *age = model.older(*age);
        }
    }
}

impl Leases {
    /// The earliest moment that anybody remembers.
    fn dawn(&self) -> BootTime {
        ago(self.old())
    }

    pub fn is_leased(&self, replica: &Replica, asked: BootTime) -> bool {
        is_lease_valid(asked, self.dawn() + BootTime::from(replica.end))
    }
}

impl State {
    /// A lease that was over before the check in hand has read the clock, or is over and there is
    /// none, is as good as none.
    pub fn forget_leases(&mut self, model: &Leases) {
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            let asked = self
                .check
                .filter(|check| check.on == at)
                .map_or(NOW, |check| ago(check.age));
            if !model.is_leased(replica, asked) {
                replica.end = 0;
            }
        }
    }

    pub fn steps_of_replica(&self, model: &Leases, at: usize, mut may: impl FnMut(Step)) {
        let replica = &self.replicas[at];
        match replica.life {
            // It does not matter which of the two is the first.
            Life::Absent => {
                if at == 0 || self.replicas[0].life != Life::Absent {
                    may(Step::Start);
                }
                return;
            }
            Life::Dead => {
                if self.redis.members[at].is_some() {
                    may(Step::LastWord);
                }
                return;
            }
            // One death is enough.
            Life::Running => {
                if at == 0 {
                    may(Step::Die);
                }
            }
        }
        match (replica.call, replica.position) {
            (Call::Nothing, None) => may(Step::Join),
            (Call::Nothing, Some(_)) => {
                may(Step::Renew);
                if model.is(Mutant::RegisterAfterBootstrap) && self.redis.members[at].is_none() {
                    may(Step::Join);
                }
            }
            (Call::Join | Call::Renew { .. }, _) => {
                [Step::Run, Step::Lose].into_iter().for_each(&mut may)
            }
            (Call::Joined | Call::Page { .. } | Call::Strange, _) => {
                [Step::Read, Step::Lose].into_iter().for_each(&mut may);
            }
        }
        match &self.check {
            None if matches!(self.revoker.stage, Stage::Returned(_)) => may(Step::Arrive),
            Some(check) if check.on == at => {
                may(if check.look == Look::Arrived {
                    Step::LookFirst
                } else {
                    Step::LookSecond
                });
            }
            None | Some(_) => {}
        }
    }

    pub fn step_of_replica(&mut self, model: &Leases, at: usize, step: Step) {
        let replica = &mut self.replicas[at];
        match step {
            Step::Start => {
                replica.life = Life::Running;
                replica.position = model.is(Mutant::RegisterAfterBootstrap).then_some(0);
            }
            Step::Die => {
                *replica = Replica {
                    life: Life::Dead,
                    ..Replica::default()
                };
                self.check = self.check.filter(|check| check.on != at);
            }
            Step::LastWord => self.redis.members[at] = None,
            Step::Join => replica.call = Call::Join,
            // The clock is read before the sending.
            Step::Renew => replica.call = Call::Renew { age: 0 },
            Step::Lose => replica.call = Call::Nothing,
            Step::Run => self.run(model, at),
            Step::Read => self.read(model, at),
            Step::Arrive => {
                self.check = Some(Check {
                    on: at,
                    age: 0,
                    look: Look::Arrived,
                })
            }
            Step::LookFirst | Step::LookSecond => self.check = self.look(model, at),
        }
    }

    /// `join_log.lua` and `renew_lease.lua`.
    fn run(&mut self, model: &Leases, at: usize) {
        let (replica, last) = (&mut self.replicas[at], self.redis.last);
        let field = &mut self.redis.members[at];
        let beat = field.map_or(self.revoker.newest_beat(at), |field| field.beat) + 1;
        replica.call = match (replica.call, replica.position) {
            (Call::Join, position) => {
                *field = Some(Field {
                    applied: position.unwrap_or(0),
                    beat,
                });
                Call::Joined
            }
            // A renewal by an id that is not registered changes nothing.
            (Call::Renew { .. }, Some(_))
                if field.is_none() && !model.is(Mutant::RegisterAfterBootstrap) =>
            {
                Call::Strange
            }
            (Call::Renew { age }, Some(position)) => {
                let read = model.is(Mutant::AcknowledgeBeforeApplying);
                let applied = if read {
                    last.min(position + PAGE)
                } else {
                    position
                };
                *field = field.map(|_| Field { applied, beat });
                Call::Page { age, last }
            }
            (call, _) => call,
        };
    }

    /// What the keeper does with an answer.
    fn read(&mut self, model: &Leases, at: usize) {
        let replica = &mut self.replicas[at];
        match (std::mem::take(&mut replica.call), replica.position) {
            // The number before the first entry.
            (Call::Joined, position) => replica.position = position.or(Some(0)),
            (Call::Page { age, last }, Some(position)) => {
                let (numbers, mine) = (
                    position + 1..=last.min(position + PAGE),
                    u64::from(position),
                );
                let mine = LogPosition {
                    epoch: (),
                    applied: mine,
                };
                let renewal =
                    accept_renewal(&mine, &(), numbers.clone().map(u64::from), u64::from(last));
                if renewal == Renewal::Rejected {
                    replica.position = None;
                    return;
                }
                // All entries, and then the lease.
                replica.knows |= numbers.contains(&model.revoked());
                replica.position = numbers.last().or(Some(position));
                if renewal == Renewal::Complete || model.is(Mutant::LimitedReadRenews) {
                    let sent = if model.is(Mutant::LeaseFromReply) {
                        NOW
                    } else {
                        ago(age)
                    };
                    let end = lease_end(sent, model.own_lease()).saturating_sub(model.dawn());
                    replica.end = u8::try_from(end).expect("no lease is as long");
                }
            }
            (_, _) => replica.position = None,
        }
    }

    /// The next look of a check: the lease first, the set second. Without a lease the stores
    /// answer, which is another model.
    fn look(&self, model: &Leases, at: usize) -> Option<Check> {
        let (check, replica) = (self.check?, &self.replicas[at]);
        let leased = model.is_leased(replica, ago(check.age));
        let missed = !replica.knows;
        let look = match check.look {
            Look::Arrived if model.is(Mutant::SetBeforeLease) => missed.then_some(Look::Missed),
            Look::Arrived => leased.then_some(Look::Leased),
            Look::Leased => missed.then_some(Look::Accepted),
            Look::Missed => leased.then_some(Look::Accepted),
            Look::Accepted => Some(Look::Accepted),
        };
        // From here on the clock does not matter.
        let age = if model.is(Mutant::SetBeforeLease) {
            check.age
        } else {
            0
        };
        look.map(|look| Check { look, age, ..check })
    }
}
