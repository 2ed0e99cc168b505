//! Revocation tasks, and the republisher, which completes failed publications.
//!
//! A revocation commits to PostgreSQL, then runs the `{user_id}` script, then the `{rev}` script.

use latchkey_domain::revocation::{Entry, EntryState, Revocation, Subject};
use uuid::Uuid;

use super::{
    super::mutants::Mutant, AccountModel, Entries, MAX_TOKEN_SECONDS, NOW, State, TICK_SECONDS,
};

/// A task that revokes the session, or all tokens of the user with a smaller generation.
///
/// The first task in [`State::revocations`] revokes the session, the others increment the
/// generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RevocationTask {
    pub stage: Stage,
    /// Smallest generation that is still valid.
    pub below: i64,
    /// Whether the republisher has compared or published the row.
    pub is_compared: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Idle,
    /// PostgreSQL contains the revocation.
    Committed,
    /// The first of the two scripts has run.
    FirstScriptRun,
    /// Both scripts have run, and the revocation has responded.
    Completed,
    /// The process crashed or a store did not respond. The client can repeat the revocation.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Commit,
    RunFirstScript,
    RunSecondScript,
    Fail,
    Repeat,
}

/// The republisher compares one row at a time, and publishes a row that the entries do not cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Republisher {
    row: Option<usize>,
    is_first_script_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepublishStep {
    Compare(usize),
    RunFirstScript,
    RunSecondScript,
    Fail,
}

impl State {
    pub fn add_revocation_steps(
        &self,
        model: &AccountModel,
        index: usize,
        mut add: impl FnMut(Step),
    ) {
        match self.revocations[index].stage {
            // The generation increments are interchangeable, so task 1 always commits first.
            Stage::Idle if index == 2 && self.revocations[1].stage == Stage::Idle => {}
            Stage::Idle if !self.has_locked_rows(model) => add(Step::Commit),
            Stage::Committed => [Step::RunFirstScript, Step::Fail].into_iter().for_each(add),
            Stage::FirstScriptRun => [Step::RunSecondScript, Step::Fail]
                .into_iter()
                .for_each(add),
            Stage::Failed => add(Step::Repeat),
            Stage::Idle | Stage::Completed => {}
        }
    }

    pub fn apply_revocation_step(&mut self, model: &AccountModel, index: usize, step: Step) {
        self.revocations[index].stage = match step {
            Step::Commit => {
                self.commit(index);
                Stage::Committed
            }
            Step::RunFirstScript => {
                self.run_script(model, index, true);
                Stage::FirstScriptRun
            }
            Step::RunSecondScript => {
                self.run_script(model, index, false);
                Stage::Completed
            }
            Step::Fail => Stage::Failed,
            // A repeat runs both scripts, whatever the row already contains.
            Step::Repeat => Stage::Committed,
        };
    }

    /// The database transaction.
    fn commit(&mut self, index: usize) {
        self.postgres.is_session_revoked = true;
        if index > 0 {
            self.postgres.user_generation += 1;
            self.revocations[index].below = self.postgres.user_generation;
        }
    }

    /// One of the two scripts: `{user_id}` first, `{rev}` second.
    fn run_script(&mut self, model: &AccountModel, index: usize, is_first: bool) {
        if is_first != model.is_mutant(Mutant::RevBeforeUser) {
            self.run_user_script(model, index);
        } else {
            self.entries.apply(model, self.entry(model, index));
        }
    }

    fn run_user_script(&mut self, model: &AccountModel, index: usize) {
        match index {
            _any if model.is_mutant(Mutant::NoUserScript) => {}
            0 => self.redis.revoke_session(),
            _generation => self.redis.store_generation(self.revocations[index].below),
        }
    }

    /// The entry that a revocation publishes now.
    fn entry(&self, model: &AccountModel, index: usize) -> Entry {
        let revocation = match index {
            0 if model.is_mutant(Mutant::TokenOnly) => Revocation::Token {
                jti: Uuid::nil(),
                exp: NOW + MAX_TOKEN_SECONDS,
            },
            0 => Revocation::Session {
                session_id: Uuid::nil(),
            },
            _generation => Revocation::User {
                user_id: Uuid::nil(),
                below: self.revocations[index].below,
            },
        };
        let Entry { subject, state } = revocation.entry(NOW);
        let expires_at = if model.is_mutant(Mutant::EntryLifetimeBySetting) {
            NOW + TICK_SECONDS
        } else {
            state.expires_at
        };
        Entry {
            subject,
            state: EntryState {
                expires_at,
                ..state
            },
        }
    }

    pub fn add_republish_steps(&self, model: &AccountModel, mut add: impl FnMut(RepublishStep)) {
        match self.republisher {
            Republisher { row: None, .. } => {
                let uncompared = model.revocations().filter(|index| {
                    self.revocations[*index].stage != Stage::Idle
                        && !self.revocations[*index].is_compared
                });
                uncompared.for_each(|index| add(RepublishStep::Compare(index)));
            }
            Republisher {
                is_first_script_run: false,
                ..
            } => [RepublishStep::RunFirstScript, RepublishStep::Fail]
                .into_iter()
                .for_each(add),
            Republisher {
                is_first_script_run: true,
                ..
            } => [RepublishStep::RunSecondScript, RepublishStep::Fail]
                .into_iter()
                .for_each(add),
        }
    }

    pub fn apply_republish_step(&mut self, model: &AccountModel, step: RepublishStep) {
        match (step, self.republisher.row) {
            (RepublishStep::Compare(index), _) if self.covers(&self.entry(model, index)) => {
                self.revocations[index].is_compared = true
            }
            (RepublishStep::Compare(index), _) => {
                self.republisher = Republisher {
                    row: Some(index),
                    is_first_script_run: false,
                }
            }
            (RepublishStep::RunFirstScript, Some(index)) => {
                self.run_script(model, index, true);
                self.republisher.is_first_script_run = true;
            }
            (RepublishStep::RunSecondScript, Some(index)) => {
                self.run_script(model, index, false);
                self.revocations[index].is_compared = true;
                self.republisher = Republisher::default();
            }
            (RepublishStep::RunFirstScript | RepublishStep::RunSecondScript, None) => {}
            (RepublishStep::Fail, _) => self.republisher = Republisher::default(),
        }
    }

    /// `RevocationSet::covers`.
    fn covers(&self, entry: &Entry) -> bool {
        let Entries {
            session,
            user,
            token,
        } = self.entries;
        let current = match entry.subject {
            Subject::Session(_) => session,
            Subject::User(_) => user,
            _token => token,
        };
        current.is_some_and(|(value, _)| value >= entry.state.value)
    }
}
