//! Refreshing the session: rotation where Redis knows it, adoption from the record where it does
//! not.

use super::{super::mutants::Mutant, Accounts, FIRST, State, Token, redis::Rotation};

/// One refresh at a time. Its token is dated from before the sending of what permits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresh {
    Nothing,
    /// Its script is on its way.
    Sent,
    /// Redis does not know the session.
    Away,
    /// The rows of user and session are held, and say that it lives; the script is on its way.
    Held,
    /// The script has answered; the token is about to be signed.
    Granted {
        adopted: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Send,
    Rotate,
    Hold,
    Adopt,
    Sign,
    /// The replica dies, or a store does not answer.
    Fail,
}

impl State {
    /// Whether somebody holds the rows, so that whatever would end the session waits.
    pub fn is_held(&self, model: &Accounts) -> bool {
        self.refresh == Refresh::Held && !model.is(Mutant::AdoptionWithoutHold)
    }

    pub fn steps_of_refresh(&self, mut may: impl FnMut(Step)) {
        may(match self.refresh {
            Refresh::Nothing => return may(Step::Send),
            Refresh::Sent => Step::Rotate,
            Refresh::Away => Step::Hold,
            Refresh::Held => Step::Adopt,
            Refresh::Granted { .. } => Step::Sign,
        });
        may(Step::Fail);
    }

    pub fn step_of_refresh(&mut self, step: Step) {
        self.refresh = match step {
            Step::Send => Refresh::Sent,
            Step::Rotate => outcome(self.redis.rotate(), false),
            Step::Hold if self.record.ended || self.record.generation != FIRST => {
                // Dead in the record: `remember_dead` writes the tombstone.
                self.redis.end_session();
                Refresh::Nothing
            }
            Step::Hold => Refresh::Held,
            Step::Adopt => outcome(self.redis.adopt(), true),
            Step::Sign => {
                self.tokens[1] = Some(Token {
                    age: 0,
                    generation: FIRST,
                });
                Refresh::Nothing
            }
            Step::Fail => Refresh::Nothing,
        };
    }
}

fn outcome(rotation: Rotation, adopted: bool) -> Refresh {
    match rotation {
        Rotation::Granted => Refresh::Granted { adopted },
        Rotation::Refused => Refresh::Nothing,
        Rotation::Away => Refresh::Away,
    }
}
