//! Account model: revocation and refresh of a session, with data loss in Redis.
//!
//! A revocation covers one session, or all sessions of a user by generation. It is published with
//! two scripts, `{user_id}` before `{rev}`. Meanwhile the session is refreshed, restored, or lost
//! from Redis. The revoking process can crash between any two steps, and the republisher completes
//! the publication.
//!
//! An entry is in force as soon as it is published, because the other models cover its propagation.
//! This model covers which tokens must be rejected, by which entry, and for how long.
//!
//! A tick is 1,300 s. An entry lives 65 minutes, which is three ticks. A token lives one hour,
//! which is three ticks at most. No request lasts as long as a tick.

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
use publishing::{Republisher, RevocationTask, Stage};
use redis::CachedSession;
use refreshing::Refresh;

const TICK_SECONDS: u64 = 1_300;

/// Maximum lifetime of an access token in seconds.
const MAX_TOKEN_SECONDS: u64 = 3_600;

/// Unix time in seconds, in every state. The model stores ages and remaining lifetimes instead.
const NOW: u64 = 1_000_000;

/// Generation of the initial session.
const FIRST_GENERATION: i64 = 1;

/// Bounds of an exploration, and the mutant to explore.
#[derive(Debug, Clone, Copy)]
struct AccountModel {
    /// Whether the initial session is refreshed and individually revoked.
    has_session: bool,
    /// Number of revocations that increment the generation of the user.
    generation_revocations: usize,
    /// Maximum number of times that Redis loses the session and its user.
    max_losses: u8,
    mutant: Option<Mutant>,
}

impl AccountModel {
    /// One session, which is individually revoked.
    const fn session(mutant: Option<Mutant>) -> AccountModel {
        AccountModel {
            has_session: true,
            generation_revocations: 0,
            max_losses: 2,
            mutant,
        }
    }

    /// Two generation increments, published in any order, and a sign-in between them.
    const fn generations(mutant: Option<Mutant>) -> AccountModel {
        AccountModel {
            has_session: false,
            generation_revocations: 2,
            max_losses: 1,
            mutant,
        }
    }

    /// Both kinds of revocation.
    const fn both(mutant: Option<Mutant>) -> AccountModel {
        AccountModel {
            has_session: true,
            generation_revocations: 1,
            max_losses: 1,
            mutant,
        }
    }

    fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Indices of the tasks in [`State::revocations`] that this exploration runs.
    fn revocations(&self) -> RangeInclusive<usize> {
        usize::from(!self.has_session)..=self.generation_revocations
    }
}

/// An issued access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Token {
    /// Ticks since the clock was read, before the request that permitted the token was sent.
    age: u8,
    generation: i64,
}

impl Token {
    fn is_unexpired(self) -> bool {
        u64::from(self.age) * TICK_SECONDS < MAX_TOKEN_SECONDS
    }
}

/// Entries in force: value, and remaining lifetime in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Entries {
    session: Option<(i64, u64)>,
    user: Option<(i64, u64)>,
    /// Entry of the first token.
    token: Option<(i64, u64)>,
}

/// Rows in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rows {
    is_session_revoked: bool,
    user_generation: i64,
}

fn revocation_keys(generation: i64) -> RevocationKeys {
    let (id, kid) = (
        Uuid::nil(),
        "AAAAAAAAAAAAAAAA"
            .parse()
            .expect("a key ID of twelve bytes"),
    );
    RevocationKeys::Session {
        kid,
        user_id: id,
        session_id: id,
        jti: id,
        generation,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    postgres: Rows,
    redis: CachedSession,
    entries: Entries,
    /// The first token of the session, its latest token, and a token of a later session.
    tokens: [Option<Token>; 3],
    refresh: Refresh,
    /// The revocation of the session, and up to two generation increments.
    revocations: [RevocationTask; 3],
    republisher: Republisher,
    losses: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    /// Redis loses the session and its user.
    Flush,
    /// Redis fails over to a server whose data is as old as the session.
    FailOver,
    SignIn,
    Refresh(refreshing::Step),
    Revocation(usize, publishing::Step),
    Republisher(publishing::RepublishStep),
}

impl Model for AccountModel {
    type State = State;
    type Action = Action;

    /// At the sign-in, Redis has either stored the session or not responded.
    fn init_states(&self) -> Vec<State> {
        let cached = State {
            postgres: Rows {
                is_session_revoked: false,
                user_generation: FIRST_GENERATION,
            },
            redis: CachedSession::after_sign_in(),
            entries: Entries::default(),
            tokens: [
                Some(Token {
                    age: 0,
                    generation: FIRST_GENERATION,
                }),
                None,
                None,
            ],
            refresh: Refresh::Idle,
            revocations: [RevocationTask::default(); 3],
            republisher: Republisher::default(),
            losses: 0,
        };
        vec![
            cached.clone(),
            State {
                redis: CachedSession::default(),
                ..cached
            },
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.accepts_revoked_token(self) {
            return;
        }
        if state.refresh == Refresh::Idle {
            actions.push(Action::Tick);
        }
        if state.losses < self.max_losses {
            actions.extend([Action::Flush, Action::FailOver]);
        }
        if state.tokens[2].is_none()
            && self.generation_revocations > 1
            && state.postgres.user_generation > FIRST_GENERATION
        {
            actions.push(Action::SignIn);
        }
        if self.has_session {
            state.add_refresh_steps(|step| actions.push(Action::Refresh(step)));
        }
        for index in self.revocations() {
            state.add_revocation_steps(self, index, |step| {
                actions.push(Action::Revocation(index, step))
            });
        }
        state.add_republish_steps(self, |step| actions.push(Action::Republisher(step)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Flush => {
                (next.redis, next.losses) = (CachedSession::default(), next.losses + 1)
            }
            Action::FailOver => {
                (next.redis, next.losses) = (CachedSession::after_failover(), next.losses + 1)
            }
            Action::SignIn => {
                next.tokens[2] = Some(Token {
                    age: 0,
                    generation: state.postgres.user_generation,
                })
            }
            Action::Refresh(step) => next.apply_refresh_step(step),
            Action::Revocation(index, step) => next.apply_revocation_step(self, index, step),
            Action::Republisher(step) => next.apply_republish_step(self, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<AccountModel>> {
        let mut properties = vec![
            Property::always(
                "no token is accepted after its revocation has completed",
                |model, state: &State| !state.accepts_revoked_token(model),
            ),
            Property::always(
                "PostgreSQL contains every completed revocation",
                |_, state: &State| state.has_committed_completed_revocations(),
            ),
            Property::always(
                "no refresh token rotates after the republisher has compared its row",
                |_, state: &State| !state.can_rotate_after_comparison(),
            ),
            Property::sometimes("an entry expires", |_, state: &State| {
                state
                    .revocations
                    .iter()
                    .any(|revocation| revocation.stage == Stage::Completed)
                    && state.entries == Entries::default()
            }),
            Property::sometimes(
                "the republisher completes a failed publication",
                |_, state: &State| {
                    state.revocations.iter().any(|revocation| {
                        revocation.stage == Stage::Failed && revocation.is_compared
                    })
                },
            ),
        ];
        if self.has_session {
            properties.push(Property::sometimes(
                "a refreshed token is accepted",
                |_, state: &State| state.accepts(1),
            ));
            properties.push(Property::sometimes(
                "a session is restored",
                |_, state: &State| state.refresh == Refresh::Rotated { is_restored: true },
            ));
        } else {
            properties.push(Property::sometimes(
                "a token of a sign-in after a revocation is accepted",
                |_, state: &State| {
                    state.revocations[1].stage == Stage::Completed && state.accepts(2)
                },
            ));
        }
        properties
    }
}

impl Entries {
    /// `RevocationSet::apply`: the larger generation and the later expiry win.
    fn apply(&mut self, model: &AccountModel, entry: Entry) {
        let slot = match entry.subject {
            Subject::Session(_) => &mut self.session,
            Subject::User(_) => &mut self.user,
            _token => &mut self.token,
        };
        let current = slot.map(|(value, seconds)| EntryState {
            value,
            expires_at: NOW + seconds,
        });
        let merged = current.map_or(entry.state, |current| current.and(entry.state));
        let value = if model.is_mutant(Mutant::LaterEntryWins) {
            entry.state.value
        } else {
            merged.value
        };
        *slot = Some((value, merged.expires_at - NOW));
    }

    fn tick(&mut self) {
        for slot in [&mut self.session, &mut self.user, &mut self.token] {
            *slot = slot.and_then(|(value, seconds)| {
                Some((
                    value,
                    seconds
                        .checked_sub(TICK_SECONDS)
                        .filter(|seconds| *seconds > 0)?,
                ))
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
                .filter(|token| token.is_unexpired());
        }
        // An expired third token remains, so that there is no second sign-in.
        if let Some(token) = self.tokens[2].as_mut().filter(|token| token.is_unexpired()) {
            token.age += 1;
        }
    }

    /// Whether a check accepts a token.
    fn accepts(&self, index: usize) -> bool {
        let Entries {
            session,
            user,
            token,
        } = self.entries;
        let entry_value = |subject: &Subject| match subject {
            Subject::Session(_) if index < 2 => session.map(|(value, _)| value),
            Subject::Token(_) if index == 0 => token.map(|(value, _)| value),
            Subject::User(_) => user.map(|(below, _)| below),
            _other => None,
        };
        self.tokens[index].is_some_and(|token| {
            token.is_unexpired()
                && revocation_keys(token.generation)
                    .find_revoked_subject(entry_value)
                    .is_none()
        })
    }

    /// Whether a token is accepted after the revocation of its session or generation has completed.
    fn accepts_revoked_token(&self, model: &AccountModel) -> bool {
        let is_completed = |index: usize| self.revocations[index].stage == Stage::Completed;
        let is_revoked = |index: usize, token: Token| {
            let is_session_revoked = is_completed(0) && index < 2;
            let is_generation_revoked = (1..=model.generation_revocations).any(|revocation| {
                is_completed(revocation) && token.generation < self.revocations[revocation].below
            });
            is_session_revoked || is_generation_revoked
        };
        (0..3).any(|index| {
            self.accepts(index) && self.tokens[index].is_some_and(|token| is_revoked(index, token))
        })
    }

    fn has_committed_completed_revocations(&self) -> bool {
        let is_committed = |index: usize, revocation: &RevocationTask| match index {
            0 => self.postgres.is_session_revoked,
            _ => self.postgres.user_generation >= revocation.below,
        };
        let mut completed = self
            .revocations
            .iter()
            .enumerate()
            .filter(|(_, revocation)| revocation.stage == Stage::Completed);
        completed.all(|(index, revocation)| is_committed(index, revocation))
    }

    /// Whether a revoked refresh token rotates although a row of its revocation was compared.
    ///
    /// The cleanup worker can delete such a row.
    fn can_rotate_after_comparison(&self) -> bool {
        let is_compared = self
            .revocations
            .iter()
            .any(|revocation| revocation.is_compared);
        is_compared && self.redis.can_rotate()
    }
}

#[test]
fn revoked_session_stays_revoked_after_two_losses() {
    report::assert_properties("account: session, two losses", AccountModel::session(None));
}

#[test]
fn larger_generation_wins() {
    report::assert_properties(
        "account: two generation increments",
        AccountModel::generations(None),
    );
}

#[test]
fn session_and_generation_revocations_combine() {
    report::assert_properties(
        "account: session and generation increment, one loss",
        AccountModel::both(None),
    );
}

#[test]
fn account_model_catches_its_mutants() {
    report::assert_mutants_caught(Catcher::Account, |mutant| match mutant {
        Mutant::LaterEntryWins => AccountModel::generations(Some(mutant)),
        _other => AccountModel::session(Some(mutant)),
    });
}
