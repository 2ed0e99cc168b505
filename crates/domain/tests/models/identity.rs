//! Identity model: changes of a user's identity, and a replica that caches the claims of a
//! personal access token.
//!
//! One replica changes the identity twice, and can stop after each step. The other replica serves
//! two checks of the same token, which overlap in any way. Redis can lose the log once. A third
//! process rebuilds the log, and publishes changes that are committed but not published.
//!
//! The lease model explores when a replica holds a lease. Here, it holds one only after it has
//! applied the whole log, and a change returns when the replica has applied its entry or holds no
//! lease.

use latchkey_domain::revocation::identity::is_identity_current;
use stateright::{Model, Property};

use super::{
    mutants::{Catcher, Mutant},
    report,
};

/// The version of the identity before the changes.
const FIRST_VERSION: u8 = 1;

/// The maximum number of changes.
const MAX_CHANGES: u8 = 2;

/// The mutant to explore.
#[derive(Debug, Clone, Copy)]
struct IdentityModel(Option<Mutant>);

/// The progress of the replica that changes the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    Idle,
    /// PostgreSQL contains the change.
    Committed,
    /// The log contains its entry.
    Appended,
}

/// The progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Check {
    None,
    /// It began when changes up to this version had returned.
    Begun {
        returned: u8,
    },
    /// It has read these claims from the cache.
    ReadCache {
        returned: u8,
        cached: u8,
    },
    /// The cached claims can't be used.
    Rejected {
        returned: u8,
    },
    /// It has read this version from PostgreSQL.
    Queried {
        returned: u8,
        version: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// The version in PostgreSQL.
    stored: u8,
    change: Change,
    /// The largest version whose change has returned.
    returned: u8,
    /// The value of the entry in the log, 0 without an entry; `None` if the log is lost.
    log: Option<u8>,
    has_lost_log: bool,
    /// Whether the replica holds a lease.
    is_leased: bool,
    /// The value of the entry in the revocation set of the replica, 0 without an entry.
    applied: u8,
    /// The version in the cached claims.
    cached: Option<u8>,
    checks: [Check; 2],
    /// Whether a check used an identity older than the last change that returned before it began.
    has_served_old: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Commit,
    Append,
    Return,
    StopChange,
    Republish,
    LoseLog,
    Rebuild,
    Renew,
    LoseLease,
    Evict,
    Begin(usize),
    ReadCache(usize),
    Decide(usize),
    Query(usize),
    Store(usize),
}

impl IdentityModel {
    fn is_mutant(&self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }

    /// Whether a replica in this state uses cached claims of this version.
    fn can_use(&self, state: &State, cached: u8) -> bool {
        if self.is_mutant(Mutant::EntryRemovesCachedClaims) {
            return state.is_leased;
        }
        let entry_value = (state.applied > 0).then_some(i64::from(state.applied));
        (state.is_leased || self.is_mutant(Mutant::CachedClaimsWithoutLease))
            && is_identity_current(i64::from(cached), entry_value)
    }
}

impl State {
    /// The entry of the identity in PostgreSQL; 0 for the first version, which has none.
    fn entry(&self) -> u8 {
        if self.stored > FIRST_VERSION {
            self.stored
        } else {
            0
        }
    }

    /// The version that the first check has read from the cache.
    fn read_version(&self) -> Option<u8> {
        match self.checks[0] {
            Check::ReadCache { cached, .. } => Some(cached),
            _other => None,
        }
    }

    fn respond(&mut self, index: usize, returned: u8, version: u8) {
        self.checks[index] = Check::None;
        self.has_served_old |= version < returned;
    }

    fn add_check_steps(&self, index: usize, actions: &mut Vec<Action>) {
        actions.push(match self.checks[index] {
            Check::None => Action::Begin(index),
            Check::Begun { .. } => Action::ReadCache(index),
            Check::ReadCache { .. } => Action::Decide(index),
            Check::Rejected { .. } => Action::Query(index),
            Check::Queried { .. } => Action::Store(index),
        });
    }
}

impl Model for IdentityModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: FIRST_VERSION,
            change: Change::Idle,
            returned: FIRST_VERSION,
            log: Some(0),
            has_lost_log: false,
            is_leased: false,
            applied: 0,
            cached: None,
            checks: [Check::None; 2],
            has_served_old: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.change {
            Change::Idle if state.stored < FIRST_VERSION + MAX_CHANGES => {
                actions.push(Action::Commit)
            }
            Change::Idle => {}
            Change::Committed => actions.extend([Action::Append, Action::StopChange]),
            Change::Appended => actions.extend([Action::Return, Action::StopChange]),
        }
        if !state.has_lost_log {
            actions.push(Action::LoseLog);
        }
        actions.extend([
            Action::Republish,
            Action::Rebuild,
            Action::Renew,
            Action::LoseLease,
            Action::Evict,
        ]);
        (0..state.checks.len()).for_each(|index| state.add_check_steps(index, actions));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Commit => {
                (next.stored, next.change) = (state.stored + 1, Change::Committed);
            }
            Action::Append => {
                next.log = Some(state.log?.max(state.entry()));
                next.change = Change::Appended;
            }
            // `wait_until_enforced`, which the lease model explores.
            Action::Return if state.is_leased && state.applied < state.stored => return None,
            Action::Return => (next.returned, next.change) = (state.stored, Change::Idle),
            Action::StopChange => next.change = Change::Idle,
            Action::Republish => next.log = Some(state.log?.max(state.entry())),
            Action::LoseLog => (next.log, next.has_lost_log) = (None, true),
            // The rebuilder waits until no lease of the lost log is left.
            Action::Rebuild if state.log.is_some() || state.is_leased => return None,
            Action::Rebuild if self.is_mutant(Mutant::RebuildOmitsIdentities) => {
                next.log = Some(0);
            }
            Action::Rebuild => next.log = Some(state.entry()),
            Action::Renew => {
                let log = state.log?;
                if self.is_mutant(Mutant::EntryRemovesCachedClaims) && log > state.applied {
                    next.cached = None;
                }
                (next.applied, next.is_leased) = (state.applied.max(log), true);
            }
            Action::LoseLease => next.is_leased = false,
            Action::Evict => next.cached = None,
            Action::Begin(index) => {
                let returned = state.returned;
                next.checks[index] = Check::Begun { returned };
            }
            Action::ReadCache(index) => {
                let Check::Begun { returned } = state.checks[index] else {
                    return None;
                };
                next.checks[index] = match state.cached {
                    Some(cached) => Check::ReadCache { returned, cached },
                    None => Check::Rejected { returned },
                };
            }
            Action::Decide(index) => {
                let Check::ReadCache { returned, cached } = state.checks[index] else {
                    return None;
                };
                if self.can_use(state, cached) {
                    next.respond(index, returned, cached);
                } else {
                    next.checks[index] = Check::Rejected { returned };
                }
            }
            Action::Query(index) => {
                let Check::Rejected { returned } = state.checks[index] else {
                    return None;
                };
                let version = state.stored;
                next.checks[index] = Check::Queried { returned, version };
            }
            Action::Store(index) => {
                let Check::Queried { returned, version } = state.checks[index] else {
                    return None;
                };
                next.cached = Some(version);
                next.respond(index, returned, version);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<IdentityModel>> {
        vec![
            Property::always(
                "a check after a change uses the new identity",
                |_, state: &State| !state.has_served_old,
            ),
            Property::sometimes(
                "a check uses cached claims after a change",
                |model: &IdentityModel, state: &State| {
                    state.read_version().is_some_and(|cached| {
                        cached > FIRST_VERSION && model.can_use(state, cached)
                    })
                },
            ),
            Property::sometimes(
                "an entry invalidates cached claims",
                |model: &IdentityModel, state: &State| {
                    state.is_leased
                        && state
                            .read_version()
                            .is_some_and(|cached| !model.can_use(state, cached))
                },
            ),
            Property::sometimes("both changes return", |_, state: &State| {
                state.returned == FIRST_VERSION + MAX_CHANGES
            }),
        ]
    }
}

#[test]
fn check_after_identity_change_uses_new_identity() {
    report::assert_properties("identity", IdentityModel(None));
}

#[test]
fn identity_model_catches_its_mutants() {
    report::assert_mutants_caught(Catcher::Identity, |mutant| IdentityModel(Some(mutant)));
}
