//! A check and the ladder: memory under a lease; else Redis, where it was seen whole, and with an
//! epoch; else the record.

use latchkey_domain::revocation::lease::{
    CheckSource, LogHealth, is_lease_valid, source_without_lease,
};

use super::{super::mutants::Mutant, Losses, NOW, State, replica::Refused, revoker::Stage};

/// A check that begins after the logout was answered, one at a time. Those that begin before prove
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check {
    on: usize,
    pub look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    Arrived,
    /// It has a lease, and looks at the set next.
    Leased,
    /// It asks Redis next.
    Redis,
    /// It asks the record next.
    Record,
    /// It was accepted, and by whom.
    Allowed(CheckSource),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Arrive(usize),
    Look,
    /// A check of somebody else has sent a statement to the record, which is answered: only where
    /// others join it.
    OthersRead,
}

impl State {
    pub fn steps_of_check(&self, model: &Losses, mut may: impl FnMut(Step)) {
        if model.is(Mutant::JoinedRead) && self.read.is_none() {
            may(Step::OthersRead);
        }
        match (&self.check, self.revoker.stage) {
            (Some(_), _) => may(Step::Look),
            (None, Stage::Returned(_)) => {
                let running = (0..model.replicas).filter(|at| self.replicas[*at].running);
                running.for_each(|at| may(Step::Arrive(at)));
            }
            (None, _) => {}
        }
    }

    pub fn step_of_check(&mut self, model: &Losses, step: Step) {
        match step {
            Step::Arrive(on) => {
                self.check = Some(Check {
                    on,
                    look: Look::Arrived,
                })
            }
            Step::Look => {
                let Some(check) = self.check else { return };
                let look = self.look(model, &check);
                // Refused: whatever may come of that is no harm.
                self.check = look.map(|look| Check { look, ..check });
            }
            Step::OthersRead => self.read = Some(self.recorded),
        }
    }

    /// Asks for a check on the first replica, without a pause: who has allowed it.
    pub fn ask(mut self, model: &Losses) -> Option<CheckSource> {
        self.step_of_check(model, Step::Arrive(0));
        loop {
            match self.check?.look {
                Look::Allowed(rung) => return Some(rung),
                _look => self.step_of_check(model, Step::Look),
            }
        }
    }

    /// The next look.
    fn look(&mut self, model: &Losses, check: &Check) -> Option<Look> {
        let replica = &mut self.replicas[check.on];
        let allowed = |revoked: bool, rung| (!revoked).then_some(Look::Allowed(rung));
        match check.look {
            Look::Arrived if is_lease_valid(NOW, NOW + u64::from(replica.left)) => {
                Some(Look::Leased)
            }
            Look::Arrived => match source_without_lease(replica.sight) {
                CheckSource::Redis => Some(Look::Redis),
                CheckSource::Memory | CheckSource::Postgres => Some(Look::Record),
                // No model has entries of a newer version.
                CheckSource::Unavailable => None,
            },
            Look::Leased => allowed(replica.knows, CheckSource::Memory),
            Look::Redis => match self.find(model, check.on) {
                Ok(Some(revoked)) => allowed(revoked, CheckSource::Redis),
                Ok(None) => self.saw(check, LogHealth::Lost),
                Err(Refused) => self.saw(check, LogHealth::Unreachable),
            },
            Look::Record => allowed(
                self.read.take().unwrap_or(self.recorded),
                CheckSource::Postgres,
            ),
            Look::Allowed(rung) => Some(Look::Allowed(rung)),
        }
    }

    fn saw(&mut self, check: &Check, sight: LogHealth) -> Option<Look> {
        self.replicas[check.on].sight = sight;
        Some(Look::Record)
    }
}
