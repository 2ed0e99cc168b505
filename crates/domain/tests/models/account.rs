//! The model of accounts: what is taken back (one session, or all of a user by its generation),
//! told to Redis in two scripts, `{sub}` before `{rev}`, while the session is refreshed, adopted
//! and lost, and while whoever tells may die and the publisher make up for it.
//!
//! How an entry reaches every replica is the matter of the other models: here it is in force at
//! once. What matters here is what there is to be refused, by which entry, and for how long. A tick
//! is 1,300 s, so that an entry, which lives 65 minutes, lives three of them, and so does, at most,
//! a token of an hour. No request lasts as long as a tick.

mod publishing;
mod redis;
mod refreshing;

use std::ops::RangeInclusive;

use latchkey_domain::revocation::{Entry, EntryState, RevocationKeys, Subject};
use stateright::{Model, Property};
use uuid::Uuid;

use super::{
    mutants::{Catcher, Mutant},
    report,
};
use publishing::{Publisher, Stage, Story};
use redis::Account;
use refreshing::Refresh;

/// Seconds of a tick.
const TICK: u64 = 1_300;

/// Seconds that an access token lives, at most.
const TOKEN: u64 = 3_600;

/// The wall clock stands still, at seconds since the epoch, and what it measured moves away from
/// it.
const NOW: u64 = 1_000_000;

/// The session that is there from the beginning is of this generation.
const FIRST: i64 = 1;

/// What is explored, and what is changed.
#[derive(Debug, Clone, Copy)]
struct Accounts {
    /// Whether the session is refreshed, and ended alone.
    session: bool,
    /// How often all of the user is ended.
    endings_of_all: usize,
    /// How often Redis loses what it knows of the account.
    losses: u8,
    mutant: Option<Mutant>,
}

impl Accounts {
    /// One session, which ends alone.
    const fn session(mutant: Option<Mutant>) -> Accounts {
        Accounts {
            session: true,
            endings_of_all: 0,
            losses: 2,
            mutant,
        }
    }

    /// Two endings of all, told in whatever order, and a sign-in between them.
    const fn generations(mutant: Option<Mutant>) -> Accounts {
        Accounts {
            session: false,
            endings_of_all: 2,
            losses: 1,
            mutant,
        }
    }

    /// Both kinds of ending.
    const fn both(mutant: Option<Mutant>) -> Accounts {
        Accounts {
            session: true,
            endings_of_all: 1,
            losses: 1,
            mutant,
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Those of [`State::stories`] that happen.
    fn stories(&self) -> RangeInclusive<usize> {
        usize::from(!self.session)..=self.endings_of_all
    }
}

/// An access token that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Token {
    /// In ticks, since the clock was read before what permitted it was sent.
    age: u8,
    generation: i64,
}

impl Token {
    fn is_alive(self) -> bool {
        u64::from(self.age) * TICK < TOKEN
    }
}

/// What is in force. Ends are in seconds after [`NOW`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Entries {
    session: Option<(i64, u64)>,
    user: Option<(i64, u64)>,
    /// Of the first token.
    token: Option<(i64, u64)>,
}

/// What the record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    /// The session has ended.
    ended: bool,
    /// Of the user.
    generation: i64,
}

/// Of a token of this generation.
fn marks(generation: i64) -> RevocationKeys {
    let (id, kid) = (
        Uuid::nil(),
        "AAAAAAAAAAAAAAAA".parse().expect("twelve bytes"),
    );
    RevocationKeys::Session {
        kid,
        sub: id,
        sid: id,
        jti: id,
        generation,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    record: Record,
    redis: Account,
    entries: Entries,
    /// The first token of the session, its last one, and one of a later session.
    tokens: [Option<Token>; 3],
    refresh: Refresh,
    /// The end of the session, and up to two endings of all.
    stories: [Story; 3],
    publisher: Publisher,
    losses: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    /// Redis forgets the account.
    Flush,
    /// What Redis has of the account is as old as the session, from another history.
    FallBack,
    SignIn,
    Refresh(refreshing::Step),
    Story(usize, publishing::Step),
    Publisher(publishing::Look),
}

impl Model for Accounts {
    type State = State;
    type Action = Action;

    /// Redis knows the session from the beginning, or did not answer at the sign-in.
    fn init_states(&self) -> Vec<State> {
        let known = State {
            record: Record {
                ended: false,
                generation: FIRST,
            },
            redis: Account::signed_in(),
            entries: Entries::default(),
            tokens: [
                Some(Token {
                    age: 0,
                    generation: FIRST,
                }),
                None,
                None,
            ],
            refresh: Refresh::Nothing,
            stories: [Story::default(); 3],
            publisher: Publisher::default(),
            losses: 0,
        };
        vec![
            known.clone(),
            State {
                redis: Account::default(),
                ..known
            },
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_accepted_late(self) {
            return;
        }
        if state.refresh == Refresh::Nothing {
            actions.push(Action::Tick);
        }
        if state.losses < self.losses {
            actions.extend([Action::Flush, Action::FallBack]);
        }
        if state.tokens[2].is_none() && self.endings_of_all > 1 && state.record.generation > FIRST {
            actions.push(Action::SignIn);
        }
        if self.session {
            state.steps_of_refresh(|step| actions.push(Action::Refresh(step)));
        }
        for at in self.stories() {
            state.steps_of_story(self, at, |step| actions.push(Action::Story(at, step)));
        }
        state.steps_of_publisher(self, |look| actions.push(Action::Publisher(look)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Flush => (next.redis, next.losses) = (Account::default(), next.losses + 1),
            Action::FallBack => {
                (next.redis, next.losses) = (Account::fallen_back(), next.losses + 1)
            }
            Action::SignIn => {
                next.tokens[2] = Some(Token {
                    age: 0,
                    generation: state.record.generation,
                })
            }
            Action::Refresh(step) => next.step_of_refresh(step),
            Action::Story(at, step) => next.step_of_story(self, at, step),
            Action::Publisher(look) => next.step_of_publisher(self, look),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Accounts>> {
        let mut properties = vec![
            Property::always(
                "nothing is accepted after its end was answered",
                |model, state: &State| !state.is_accepted_late(model),
            ),
            Property::always(
                "the record holds every finished revocation",
                |_, state: &State| state.record_holds_what_is_finished(),
            ),
            Property::always(
                "what the publisher has passed is refreshed no more",
                |_, state: &State| !state.refreshes_what_was_passed(),
            ),
            Property::sometimes("an entry is over", |_, state: &State| {
                state
                    .stories
                    .iter()
                    .any(|story| story.stage == Stage::Finished)
                    && state.entries == Entries::default()
            }),
            Property::sometimes(
                "the publisher makes up for one who died",
                |_, state: &State| {
                    state
                        .stories
                        .iter()
                        .any(|story| story.stage == Stage::Dead && story.passed)
                },
            ),
        ];
        if self.session {
            properties.push(Property::sometimes(
                "a refreshed token is allowed",
                |_, state: &State| state.allows(1),
            ));
            properties.push(Property::sometimes(
                "a session is adopted",
                |_, state: &State| state.refresh == Refresh::Granted { adopted: true },
            ));
        } else {
            properties.push(Property::sometimes(
                "who signs in after an end is allowed",
                |_, state: &State| state.stories[1].stage == Stage::Finished && state.allows(2),
            ));
        }
        properties
    }
}

impl Entries {
    /// `Memory::apply`: of two, the larger generation and the later end.
    fn apply(&mut self, model: &Accounts, entry: Entry) {
        let slot = match entry.subject {
            Subject::Session(_) => &mut self.session,
            Subject::User(_) => &mut self.user,
            _token => &mut self.token,
        };
        let known = slot.map(|(value, left)| EntryState {
            value,
            ends_at: NOW + left,
        });
        let larger = known.map_or(entry.state, |known| known.and(entry.state));
        let value = if model.is(Mutant::SmallerGenerationWins) {
            entry.state.value
        } else {
            larger.value
        };
        *slot = Some((value, larger.ends_at - NOW));
    }

    fn tick(&mut self) {
        for slot in [&mut self.session, &mut self.user, &mut self.token] {
            *slot = slot.and_then(|(value, left)| {
                Some((value, left.checked_sub(TICK).filter(|left| *left > 0)?))
            });
        }
    }
}

impl State {
    fn tick(&mut self) {
        self.entries.tick();
        for slot in &mut self.tokens[..2] {
            *slot = slot
                .map(|token| Token {
                    age: token.age + 1,
                    ..token
                })
                .filter(|token| token.is_alive());
        }
        // Nobody signs in again for the third.
        if let Some(token) = self.tokens[2].as_mut().filter(|token| token.is_alive()) {
            token.age += 1;
        }
    }

    /// What a check answers for a token.
    fn allows(&self, at: usize) -> bool {
        let Entries {
            session,
            user,
            token,
        } = self.entries;
        let value = |subject: &Subject| match subject {
            Subject::Session(_) if at < 2 => session.map(|(value, _)| value),
            Subject::Token(_) if at == 0 => token.map(|(value, _)| value),
            Subject::User(_) => user.map(|(below, _)| below),
            _other => None,
        };
        self.tokens[at].is_some_and(|token| {
            token.is_alive()
                && marks(token.generation)
                    .find_revoked_subject(value)
                    .is_none()
        })
    }

    /// Whether a token is accepted although the end of its session, or of its generation, was
    /// answered before.
    fn is_accepted_late(&self, model: &Accounts) -> bool {
        let finished = |at: usize| self.stories[at].stage == Stage::Finished;
        let is_over = |at: usize, token: Token| {
            let of_session = finished(0) && at < 2;
            let of_all = (1..=model.endings_of_all)
                .any(|all| finished(all) && token.generation < self.stories[all].below);
            of_session || of_all
        };
        (0..3).any(|at| self.allows(at) && self.tokens[at].is_some_and(|token| is_over(at, token)))
    }

    fn record_holds_what_is_finished(&self) -> bool {
        let holds = |at: usize, story: &Story| match at {
            0 => self.record.ended,
            _ => self.record.generation >= story.below,
        };
        let mut finished = self
            .stories
            .iter()
            .enumerate()
            .filter(|(_, story)| story.stage == Stage::Finished);
        finished.all(|(at, story)| holds(at, story))
    }

    /// The publisher has compared a row, so that it may be deleted; and a refresh token of what it
    /// ended is exchanged.
    fn refreshes_what_was_passed(&self) -> bool {
        let passed = self.stories.iter().any(|story| story.passed);
        passed && self.redis.would_rotate()
    }
}

#[test]
fn a_session_that_has_ended_stays_so() {
    report::holds("account: a session, two losses", Accounts::session(None));
}

#[test]
fn the_larger_generation_wins() {
    report::holds("account: two endings of all", Accounts::generations(None));
}

#[test]
fn both_kinds_of_ending_go_together() {
    report::holds("account: a session and all, one loss", Accounts::both(None));
}

#[test]
fn every_mutant_of_accounts_is_caught() {
    report::catches(Catcher::Account, |mutant| match mutant {
        Mutant::SmallerGenerationWins => Accounts::generations(Some(mutant)),
        _other => Accounts::session(Some(mutant)),
    });
}
