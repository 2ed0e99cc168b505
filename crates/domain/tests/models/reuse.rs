//! Reuse model: which presented refresh tokens count as reused.
//!
//! Redis fails over, and for some time two servers accept writes: one replica of Latchkey writes to
//! the one, another replica to the other. Requests reach any replica. Redis can also be
//! unavailable. PostgreSQL has the counter of a rotation only later.
//!
//! An honest client presents the latest token that it received, and repeats a request whose
//! response was lost. An attacker can present a token that was copied at some time.
//!
//! A tick is a reuse interval. Without an outage, a client repeats a request within one.

use stateright::{Model, Property};

use super::{
    mutants::{Catcher, Mutant},
    report,
};

/// Bounds of an exploration, and the mutant to explore.
#[derive(Debug, Clone, Copy)]
struct ReuseModel {
    has_attacker: bool,
    /// Largest counter of a token.
    max_counter: u8,
    /// Maximum number of outages of Redis.
    max_outages: u8,
    /// Maximum number of ticks.
    max_ticks: u8,
    mutant: Option<Mutant>,
}

impl ReuseModel {
    const fn honest(mutant: Option<Mutant>) -> ReuseModel {
        ReuseModel {
            has_attacker: false,
            max_counter: 4,
            max_outages: 2,
            max_ticks: 2,
            mutant,
        }
    }

    const fn attacked(mutant: Option<Mutant>) -> ReuseModel {
        ReuseModel {
            has_attacker: true,
            max_counter: 3,
            max_outages: 1,
            max_ticks: 2,
            mutant,
        }
    }

    fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// The counter of a session in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct StoredCounter {
    counter: u8,
    /// Ticks since the rotation to this counter.
    age: u8,
    /// The part of them during which Redis was unavailable.
    downtime: u8,
}

/// The request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    None,
    /// A replica that writes to this server has received the token.
    Sent {
        presented: u8,
        server: usize,
    },
    /// The session must be restored.
    NotCached {
        presented: u8,
        server: usize,
    },
    /// The response contains this counter.
    Responded(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// The session on both servers of Redis; `None` if a server lacks it, or its history changed.
    servers: [Option<StoredCounter>; 2],
    has_failed_over: bool,
    postgres: StoredCounter,
    /// Whether Redis is unavailable.
    is_down: bool,
    /// The elapsed ticks, and the part of them during which Redis was unavailable.
    ticks: u8,
    downtime: u8,
    outage_count: u8,
    /// The largest counter that the honest client has received.
    received: u8,
    honest: Request,
    /// The counter that the attacker copied.
    copied: Option<u8>,
    attacker: Request,
    has_attacked: bool,
    /// The token that counted as reused.
    reused: Option<u8>,
    /// Whether a restore has issued a token although PostgreSQL had a larger counter.
    has_restored_older: bool,
    /// Whether a token was repeated after the reuse interval, not counting outages.
    has_repeated_late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Another server becomes the primary, with older data. The previous one continues.
    FailOver,
    BeginOutage,
    Tick,
    EndOutage,
    /// A replica stores the counter of this server in PostgreSQL.
    Store(usize),
    Copy,
    Send(Client, usize),
    Rotate(Client),
    Restore(Client),
    Receive(Client),
    Lose(Client),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Honest,
    Attacker,
}

/// The result of the scripts.
enum Rotation {
    Rotated(u8),
    /// The same token again. `is_late` is whether the reuse interval, not counting outages, is
    /// over.
    Repeated {
        counter: u8,
        is_late: bool,
    },
    NotCached,
    Reused,
}

impl ReuseModel {
    /// `exchange`: the rotation table. `all_downtime` is the length of all outages, also of those
    /// before the rotation.
    fn exchange(&self, stored: &mut StoredCounter, presented: u8, all_downtime: u8) -> Rotation {
        let downtime = if self.is_mutant(Mutant::OutagesCount) {
            0
        } else if self.is_mutant(Mutant::EarlierOutagesExtend) {
            all_downtime
        } else {
            stored.downtime
        };
        if presented == stored.counter {
            *stored = StoredCounter {
                counter: presented + 1,
                ..StoredCounter::default()
            };
            Rotation::Rotated(presented + 1)
        } else if presented + 1 == stored.counter && stored.age <= downtime {
            Rotation::Repeated {
                counter: stored.counter,
                is_late: stored.age > stored.downtime,
            }
        } else {
            Rotation::Reused
        }
    }

    /// `rotate.lua`.
    fn rotate(
        &self,
        cached: &mut Option<StoredCounter>,
        presented: u8,
        all_downtime: u8,
    ) -> Rotation {
        match cached {
            Some(stored)
                if presented <= stored.counter || self.is_mutant(Mutant::HigherCounterIsReuse) =>
            {
                self.exchange(stored, presented, all_downtime)
            }
            _stale => Rotation::NotCached,
        }
    }

    /// `restore_session.lua`: the largest counter of Redis, PostgreSQL, and the token.
    fn restore(
        &self,
        cached: &mut Option<StoredCounter>,
        postgres: StoredCounter,
        presented: u8,
        all_downtime: u8,
    ) -> Rotation {
        let mut stored = match *cached {
            Some(cached) if cached.counter >= postgres.counter => cached,
            _older => postgres,
        };
        if self.is_mutant(Mutant::RestoreIgnoresPostgres) {
            stored = cached.unwrap_or_default();
        }
        if !self.is_mutant(Mutant::RestoreIgnoresToken) {
            stored.counter = stored.counter.max(presented);
        }
        let rotation = self.exchange(&mut stored, presented, all_downtime);
        *cached = Some(stored);
        rotation
    }
}

impl State {
    fn request(&mut self, client: Client) -> &mut Request {
        match client {
            Client::Honest => &mut self.honest,
            Client::Attacker => &mut self.attacker,
        }
    }

    fn add_client_steps(&self, model: &ReuseModel, client: Client, actions: &mut Vec<Action>) {
        let (request, presented) = match client {
            Client::Honest => (self.honest, Some(self.received)),
            Client::Attacker => (self.attacker, self.copied),
        };
        match request {
            Request::None if presented.is_some_and(|presented| presented < model.max_counter) => {
                let servers = if self.has_failed_over { 2 } else { 1 };
                actions.extend((0..servers).map(|server| Action::Send(client, server)));
            }
            Request::None => {}
            Request::Sent { .. } if !self.is_down => actions.push(Action::Rotate(client)),
            Request::NotCached { .. } if !self.is_down => actions.push(Action::Restore(client)),
            // The request failed with a 503.
            Request::Sent { .. } | Request::NotCached { .. } => actions.push(Action::Lose(client)),
            Request::Responded(_) => {
                actions.extend([Action::Receive(client), Action::Lose(client)])
            }
        }
    }

    fn finish(&mut self, client: Client, presented: u8, server: usize, rotation: Rotation) {
        match rotation {
            Rotation::Rotated(counter) => *self.request(client) = Request::Responded(counter),
            Rotation::Repeated { counter, is_late } => {
                *self.request(client) = Request::Responded(counter);
                self.has_repeated_late |= is_late;
            }
            Rotation::NotCached => *self.request(client) = Request::NotCached { presented, server },
            Rotation::Reused => {
                *self.request(client) = Request::None;
                self.reused = Some(presented);
            }
        }
    }

    /// Whether time can pass without an outage: the honest client has received every rotation, so
    /// it repeats no request.
    fn is_settled(&self) -> bool {
        let mut counters = self.servers.iter().flatten().map(|stored| stored.counter);
        counters.all(|counter| counter <= self.received)
    }

    fn tick(&mut self) {
        let is_down = u8::from(self.is_down);
        let servers = self.servers.iter_mut().flatten();
        for stored in servers.chain([&mut self.postgres]) {
            stored.age += 1;
            stored.downtime += is_down;
        }
        self.ticks += 1;
        self.downtime += is_down;
    }
}

impl Model for ReuseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let stored = StoredCounter::default();
        vec![State {
            servers: [Some(stored), None],
            has_failed_over: false,
            postgres: stored,
            is_down: false,
            ticks: 0,
            downtime: 0,
            outage_count: 0,
            received: 0,
            honest: Request::None,
            copied: None,
            attacker: Request::None,
            has_attacked: false,
            reused: None,
            has_restored_older: false,
            has_repeated_late: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.reused.is_some() {
            return;
        }
        if !state.has_failed_over {
            actions.push(Action::FailOver);
        }
        if state.ticks < self.max_ticks && (state.is_down || state.is_settled()) {
            actions.push(Action::Tick);
        }
        if state.is_down {
            actions.push(Action::EndOutage);
        } else if state.outage_count < self.max_outages {
            actions.push(Action::BeginOutage);
        }
        for (server, stored) in state.servers.iter().enumerate() {
            if stored.is_some_and(|stored| stored.counter > state.postgres.counter) {
                actions.push(Action::Store(server));
            }
        }
        state.add_client_steps(self, Client::Honest, actions);
        if self.has_attacker {
            if state.copied.is_none() {
                actions.push(Action::Copy);
            }
            state.add_client_steps(self, Client::Attacker, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::FailOver => {
                // The follower lacks the latest rotations; with another history, it must restore.
                next.servers[1] = None;
                next.has_failed_over = true;
            }
            Action::BeginOutage => {
                (next.is_down, next.outage_count) = (true, state.outage_count + 1)
            }
            Action::Tick => next.tick(),
            Action::EndOutage => next.is_down = false,
            Action::Store(server) => next.postgres = state.servers[server]?,
            Action::Copy => next.copied = Some(state.received),
            Action::Send(client, server) => {
                let presented = match client {
                    Client::Honest => state.received,
                    Client::Attacker => state.copied?,
                };
                next.has_attacked |= client == Client::Attacker;
                *next.request(client) = Request::Sent { presented, server };
            }
            Action::Rotate(client) => {
                let Request::Sent { presented, server } = *next.request(client) else {
                    return None;
                };
                let rotation = self.rotate(&mut next.servers[server], presented, state.downtime);
                next.finish(client, presented, server, rotation);
            }
            Action::Restore(client) => {
                let Request::NotCached { presented, server } = *next.request(client) else {
                    return None;
                };
                let cached = &mut next.servers[server];
                let rotation = self.restore(cached, state.postgres, presented, state.downtime);
                next.has_restored_older = matches!(
                    rotation,
                    Rotation::Rotated(counter) | Rotation::Repeated { counter, .. }
                        if counter < state.postgres.counter
                );
                next.finish(client, presented, server, rotation);
            }
            Action::Receive(client) => {
                let Request::Responded(counter) = *next.request(client) else {
                    return None;
                };
                *next.request(client) = Request::None;
                if client == Client::Honest {
                    next.received = state.received.max(counter);
                }
            }
            Action::Lose(client) => *next.request(client) = Request::None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<ReuseModel>> {
        let mut properties = vec![
            Property::always(
                "no token of an honest client counts as reused",
                |_, state: &State| state.reused.is_none() || state.has_attacked,
            ),
            Property::always(
                "a token is repeated only within the reuse interval, not counting outages",
                |_, state: &State| !state.has_repeated_late,
            ),
            Property::sometimes("both servers rotate", |_, state: &State| {
                state
                    .servers
                    .iter()
                    .all(|stored| stored.is_some_and(|stored| stored.counter > 1))
            }),
            Property::sometimes("a repeat follows an outage", |_, state: &State| {
                matches!(state.honest, Request::Responded(counter) if counter == state.received + 1)
                    && state.downtime > 0
                    && state.servers[0].is_some_and(|stored| stored.age > 0)
            }),
        ];
        if self.has_attacker {
            properties.push(Property::sometimes(
                "reuse is detected",
                |_, state: &State| state.reused.is_some(),
            ));
            properties.push(Property::always(
                "a restore issues no token below the counter of PostgreSQL",
                |_, state: &State| !state.has_restored_older,
            ));
        }
        properties
    }
}

#[test]
fn two_primaries_and_outages_cause_no_false_reuse() {
    report::assert_properties("reuse: honest client", ReuseModel::honest(None));
}

#[test]
fn restore_rejects_token_older_than_postgres() {
    report::assert_properties("reuse: with an attacker", ReuseModel::attacked(None));
}

#[test]
fn reuse_model_catches_its_mutants() {
    report::assert_mutants_caught(Catcher::Reuse, |mutant| match mutant {
        Mutant::RestoreIgnoresPostgres | Mutant::EarlierOutagesExtend => {
            ReuseModel::attacked(Some(mutant))
        }
        _other => ReuseModel::honest(Some(mutant)),
    });
}
