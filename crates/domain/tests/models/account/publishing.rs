//! Taking back: the record, then `{sub}`, then `{rev}`; and the publisher, which finds what
//! somebody left undone.

use latchkey_domain::revocation::{Entry, EntryState, Revocation, Subject};
use uuid::Uuid;

use super::{super::mutants::Mutant, Accounts, Entries, NOW, State, TICK, TOKEN};

/// Somebody takes something back: first of [`State::stories`] the session, the others all of the
/// user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Story {
    pub stage: Stage,
    /// The generation below which all is taken back.
    pub below: i64,
    /// The publisher has compared its row, or published it.
    pub passed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// The record has it.
    Recorded,
    /// One of the two scripts has run.
    Half,
    /// Both have, and it was answered.
    Finished,
    /// Whoever told died, or a store did not answer, before it was answered. It may be repeated.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Record,
    First,
    Second,
    Die,
    Repeat,
}

/// The publisher compares one row at a time, and publishes it if memory does not cover it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Publisher {
    row: Option<usize>,
    half: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Compare(usize),
    First,
    Second,
    Die,
}

impl State {
    pub fn steps_of_story(&self, model: &Accounts, at: usize, mut may: impl FnMut(Step)) {
        match self.stories[at].stage {
            // Of two endings of all it does not matter which is the first.
            Stage::Idle if at == 2 && self.stories[1].stage == Stage::Idle => {}
            Stage::Idle if !self.is_held(model) => may(Step::Record),
            Stage::Recorded => [Step::First, Step::Die].into_iter().for_each(may),
            Stage::Half => [Step::Second, Step::Die].into_iter().for_each(may),
            Stage::Dead => may(Step::Repeat),
            Stage::Idle | Stage::Finished => {}
        }
    }

    pub fn step_of_story(&mut self, model: &Accounts, at: usize, step: Step) {
        self.stories[at].stage = match step {
            Step::Record => {
                self.record(at);
                Stage::Recorded
            }
            Step::First => {
                self.tell(model, at, true);
                Stage::Half
            }
            Step::Second => {
                self.tell(model, at, false);
                Stage::Finished
            }
            Step::Die => Stage::Dead,
            // Both scripts, whatever the row already says.
            Step::Repeat => Stage::Recorded,
        };
    }

    /// The transaction.
    fn record(&mut self, at: usize) {
        self.record.ended = true;
        if at > 0 {
            self.record.generation += 1;
            self.stories[at].below = self.record.generation;
        }
    }

    /// One of the two scripts: `{sub}` first, `{rev}` second.
    fn tell(&mut self, model: &Accounts, at: usize, first: bool) {
        if first != model.is(Mutant::EntryBeforeAccount) {
            self.end_in_account(model, at);
        } else {
            self.entries.apply(model, self.entry(model, at));
        }
    }

    fn end_in_account(&mut self, model: &Accounts, at: usize) {
        match at {
            _any if model.is(Mutant::NoAccountScript) => {}
            0 => self.redis.end_session(),
            _all => self.redis.raise_generation(self.stories[at].below),
        }
    }

    /// What is published of a story at this moment.
    fn entry(&self, model: &Accounts, at: usize) -> Entry {
        let revocation = match at {
            0 if model.is(Mutant::TokenOnly) => Revocation::Token {
                jti: Uuid::nil(),
                exp: NOW + TOKEN,
            },
            0 => Revocation::Session { sid: Uuid::nil() },
            _all => Revocation::User {
                sub: Uuid::nil(),
                below: self.stories[at].below,
            },
        };
        let Entry { subject, state } = revocation.entry(NOW);
        let ends_at = if model.is(Mutant::EntryBySetting) {
            NOW + TICK
        } else {
            state.ends_at
        };
        Entry {
            subject,
            state: EntryState { ends_at, ..state },
        }
    }

    pub fn steps_of_publisher(&self, model: &Accounts, mut may: impl FnMut(Look)) {
        match self.publisher {
            Publisher { row: None, .. } => {
                let recorded = model.stories().filter(|at| {
                    self.stories[*at].stage != Stage::Idle && !self.stories[*at].passed
                });
                recorded.for_each(|at| may(Look::Compare(at)));
            }
            Publisher { half: false, .. } => [Look::First, Look::Die].into_iter().for_each(may),
            Publisher { half: true, .. } => [Look::Second, Look::Die].into_iter().for_each(may),
        }
    }

    pub fn step_of_publisher(&mut self, model: &Accounts, look: Look) {
        match (look, self.publisher.row) {
            (Look::Compare(at), _) if self.covers(&self.entry(model, at)) => {
                self.stories[at].passed = true
            }
            (Look::Compare(at), _) => {
                self.publisher = Publisher {
                    row: Some(at),
                    half: false,
                }
            }
            (Look::First, Some(at)) => {
                self.tell(model, at, true);
                self.publisher.half = true;
            }
            (Look::Second, Some(at)) => {
                self.tell(model, at, false);
                self.stories[at].passed = true;
                self.publisher = Publisher::default();
            }
            (Look::First | Look::Second, None) => {}
            (Look::Die, _) => self.publisher = Publisher::default(),
        }
    }

    /// `Memory::covers`.
    fn covers(&self, entry: &Entry) -> bool {
        let Entries {
            session,
            user,
            token,
        } = self.entries;
        let known = match entry.subject {
            Subject::Session(_) => session,
            Subject::User(_) => user,
            _token => token,
        };
        known.is_some_and(|(value, _)| value >= entry.state.value)
    }
}
