//! Refresh of the session: rotation in Redis, and restore from PostgreSQL if Redis lost it.

use super::{
    super::mutants::Mutant, AccountModel, FIRST_GENERATION, State, Token, redis::Rotation,
};

/// The refresh in progress. There is at most one.
///
/// The lifetime of its token counts from before the request that permits the token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresh {
    Idle,
    /// The rotation script is in flight.
    Sent,
    /// Redis does not have the session.
    NotCached,
    /// The rows of user and session are locked and not revoked. The restore script is in flight.
    Locked,
    /// The script has responded, and the token is not signed yet.
    Rotated {
        is_restored: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Send,
    Rotate,
    Lock,
    Restore,
    Sign,
    /// The replica crashes, or a store does not respond.
    Fail,
}

impl State {
    /// Whether a restore holds locks on the rows, so that a revocation must wait.
    pub fn has_locked_rows(&self, model: &AccountModel) -> bool {
        self.refresh == Refresh::Locked && !model.is_mutant(Mutant::RestoreWithoutLock)
    }

    pub fn add_refresh_steps(&self, mut add: impl FnMut(Step)) {
        add(match self.refresh {
            Refresh::Idle => return add(Step::Send),
            Refresh::Sent => Step::Rotate,
            Refresh::NotCached => Step::Lock,
            Refresh::Locked => Step::Restore,
            Refresh::Rotated { .. } => Step::Sign,
        });
        add(Step::Fail);
    }

    pub fn apply_refresh_step(&mut self, step: Step) {
        self.refresh = match step {
            Step::Send => Refresh::Sent,
            Step::Rotate => next_refresh(self.redis.rotate(), false),
            Step::Lock
                if self.postgres.is_session_revoked
                    || self.postgres.user_generation != FIRST_GENERATION =>
            {
                // PostgreSQL has the revocation, so `cache_tombstone` writes the tombstone.
                self.redis.revoke_session();
                Refresh::Idle
            }
            Step::Lock => Refresh::Locked,
            Step::Restore => next_refresh(self.redis.restore(), true),
            Step::Sign => {
                self.tokens[1] = Some(Token {
                    age: 0,
                    generation: FIRST_GENERATION,
                });
                Refresh::Idle
            }
            Step::Fail => Refresh::Idle,
        };
    }
}

fn next_refresh(rotation: Rotation, is_restored: bool) -> Refresh {
    match rotation {
        Rotation::Rotated => Refresh::Rotated { is_restored },
        Rotation::Rejected => Refresh::Idle,
        Rotation::NotCached => Refresh::NotCached,
    }
}
