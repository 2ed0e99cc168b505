//! A check with its sources: memory with a lease, Redis with an epoch, otherwise PostgreSQL.

use latchkey_domain::revocation::lease::{
    CheckSource, LogHealth, is_lease_valid, source_without_lease,
};

use super::{
    super::mutants::Mutant, LossModel, NOW, State, replica::WriteRejected, revoker::Stage,
};

/// A check that begins after the response to the sign-out. Earlier checks prove nothing.
///
/// There is at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check {
    replica: usize,
    pub stage: CheckStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStage {
    Arrived,
    /// The lease is valid. The check reads the revocation set next.
    Leased,
    /// The check queries Redis next.
    Redis,
    /// The check queries PostgreSQL next.
    Postgres,
    /// This source accepted the check.
    Accepted(CheckSource),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Begin(usize),
    Advance,
    /// PostgreSQL executes the statement of another check, with [`Mutant::JoinedStatement`] only.
    ExecuteEarlierStatement,
}

impl State {
    pub fn add_check_steps(&self, model: &LossModel, mut add: impl FnMut(Step)) {
        if model.is_mutant(Mutant::JoinedStatement) && self.earlier_result.is_none() {
            add(Step::ExecuteEarlierStatement);
        }
        match (&self.check, self.revoker.stage) {
            (Some(_), _) => add(Step::Advance),
            (None, Stage::Responded(_)) => {
                let running = (0..model.replicas).filter(|index| self.replicas[*index].is_running);
                running.for_each(|index| add(Step::Begin(index)));
            }
            (None, _) => {}
        }
    }

    pub fn apply_check_step(&mut self, model: &LossModel, step: Step) {
        match step {
            Step::Begin(replica) => {
                self.check = Some(Check {
                    replica,
                    stage: CheckStage::Arrived,
                })
            }
            Step::Advance => {
                let Some(check) = self.check else { return };
                let stage = self.advance_check(model, &check);
                // A rejected check disappears, because it cannot violate a property.
                self.check = stage.map(|stage| Check { stage, ..check });
            }
            Step::ExecuteEarlierStatement => self.earlier_result = Some(self.is_committed),
        }
    }

    /// Runs a check on the first replica without a pause, and returns the source that accepts it.
    pub fn run_check(mut self, model: &LossModel) -> Option<CheckSource> {
        self.apply_check_step(model, Step::Begin(0));
        loop {
            match self.check?.stage {
                CheckStage::Accepted(source) => return Some(source),
                _stage => self.apply_check_step(model, Step::Advance),
            }
        }
    }

    /// Returns the next stage of a check; `None` if the check is rejected.
    fn advance_check(&mut self, model: &LossModel, check: &Check) -> Option<CheckStage> {
        let replica = &mut self.replicas[check.replica];
        let accept_unless =
            |is_revoked: bool, source| (!is_revoked).then_some(CheckStage::Accepted(source));
        match check.stage {
            CheckStage::Arrived if is_lease_valid(NOW, NOW + u64::from(replica.lease_ticks)) => {
                Some(CheckStage::Leased)
            }
            CheckStage::Arrived => match source_without_lease(replica.log_health) {
                CheckSource::Redis => Some(CheckStage::Redis),
                CheckSource::Memory | CheckSource::Postgres => Some(CheckStage::Postgres),
                // The model contains no entries of a newer version.
                CheckSource::Unavailable => None,
            },
            CheckStage::Leased => accept_unless(replica.has_entry, CheckSource::Memory),
            CheckStage::Redis => match self.look_up_in_redis(model, check.replica) {
                Ok(Some(is_revoked)) => accept_unless(is_revoked, CheckSource::Redis),
                Ok(None) => self.continue_with_postgres(check, LogHealth::Lost),
                Err(WriteRejected) => self.continue_with_postgres(check, LogHealth::Unreachable),
            },
            CheckStage::Postgres => accept_unless(
                self.earlier_result.take().unwrap_or(self.is_committed),
                CheckSource::Postgres,
            ),
            CheckStage::Accepted(source) => Some(CheckStage::Accepted(source)),
        }
    }

    fn continue_with_postgres(&mut self, check: &Check, health: LogHealth) -> Option<CheckStage> {
        self.replicas[check.replica].log_health = health;
        Some(CheckStage::Postgres)
    }
}
