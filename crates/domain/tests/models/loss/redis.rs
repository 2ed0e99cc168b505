//! A Redis server with the scripts of the revocation log. Each script is one step.
//!
//! The functions have the same structure as the `.lua` files and functions that their comments
//! name.

use super::{super::mutants::Mutant, LossModel};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    /// The `run_id`, which no change of the data changes.
    pub run_id: u8,
    /// The replication ID, which changes with each promotion.
    pub history_id: u8,
    pub data: Data,
}

/// Data that a flush deletes and a follower copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Data {
    pub state: Option<LogState>,
    pub log_length: u8,
    /// Denylist key of the revocation: the nonce of the epoch under which it was written.
    pub denylist_nonce: Option<u8>,
    pub fence: Option<Epoch>,
}

/// The state hash, which describes the expected log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogState {
    pub epoch: Epoch,
    pub last: u8,
    /// Acknowledged position of each member.
    pub members: [Option<u8>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Replication ID of the server; with [`Mutant::EpochByRunId`], its `run_id`.
    server: u8,
    pub nonce: u8,
}

impl Epoch {
    pub const FIRST: Epoch = Epoch {
        server: 0,
        nonce: 0,
    };
}

impl Server {
    /// A server with the first epoch, an empty log, and one member.
    pub fn initial() -> Server {
        let state = Some(LogState {
            epoch: Epoch::FIRST,
            last: 0,
            members: [Some(0), None],
        });
        Server {
            run_id: 0,
            history_id: 0,
            data: Data {
                state,
                ..Data::default()
            },
        }
    }

    /// The server that a new epoch names.
    fn epoch_server(&self, model: &LossModel) -> u8 {
        if model.is_mutant(Mutant::EpochByRunId) {
            self.run_id
        } else {
            self.history_id
        }
    }

    /// `epoch_of`: the state, if its epoch belongs to this server.
    fn epoch_of(&self, model: &LossModel) -> Option<LogState> {
        self.data.state.filter(|log| {
            log.epoch.server == self.epoch_server(model) || model.is_mutant(Mutant::NoEpochCheck)
        })
    }

    /// `log_of`: the state, if its epoch belongs to this server and the log has the expected ends.
    pub fn log_of(&self, model: &LossModel) -> Option<LogState> {
        self.epoch_of(model).filter(|log| {
            log.last == self.data.log_length || model.is_mutant(Mutant::NoLogEndsCheck)
        })
    }

    /// `add`: appends the entry unless the log of this epoch contains it; returns its number.
    fn add(&mut self, nonce: u8) -> u8 {
        if self.data.denylist_nonce != Some(nonce) {
            self.data.log_length += 1;
            self.data.denylist_nonce = Some(nonce);
        }
        self.data.log_length
    }

    /// `append_entries.lua`: returns epoch, sequence number, and members; `None` without an epoch.
    pub fn revoke(&mut self, model: &LossModel) -> Option<LogState> {
        let log = self.log_of(model)?;
        let last = self.add(log.epoch.nonce);
        self.data.state = Some(LogState { last, ..log });
        self.data.state
    }

    /// `join_log.lua`: returns the epoch; `None` without an epoch.
    ///
    /// The model does not trim the log, so the position before the first entry is always 0.
    pub fn join(&mut self, model: &LossModel, member: usize) -> Option<Epoch> {
        let mut log = self.log_of(model)?;
        log.members[member] = Some(0);
        self.data.state = Some(log);
        Some(log.epoch)
    }

    /// `renew_lease.lua`: returns the last sequence number.
    ///
    /// Returns `None` without an epoch, and `Some(None)` if the epoch has changed or the replica is
    /// not a member.
    pub fn renew(
        &mut self,
        model: &LossModel,
        member: usize,
        epoch: Epoch,
        applied: u8,
    ) -> Option<Option<u8>> {
        let mut log = self.log_of(model)?;
        if log.epoch != epoch || log.members[member].is_none() {
            return Some(None);
        }
        log.members[member] = Some(applied);
        self.data.state = Some(log);
        Some(Some(log.last))
    }

    /// `find_revocations.lua`: returns whether the session is revoked; `None` without an epoch.
    pub fn find_revocation(&self, model: &LossModel) -> Option<bool> {
        let has_result =
            self.epoch_of(model).is_some() || model.is_mutant(Mutant::MissWithoutEpoch);
        has_result.then_some(self.data.denylist_nonce.is_some())
    }

    /// `begin_rebuild.lua`: returns the epoch to build.
    ///
    /// Returns `None` if the log is valid and must not be replaced.
    pub fn begin_rebuild(
        &mut self,
        model: &LossModel,
        nonce: u8,
        replaces_valid_log: bool,
    ) -> Option<Epoch> {
        let keeps_epoch = model.is_mutant(Mutant::RebuildBesideEpoch);
        if self.log_of(model).is_some() && !keeps_epoch && !replaces_valid_log {
            return None;
        }
        let epoch = Epoch {
            server: self.epoch_server(model),
            nonce,
        };
        self.data.fence = Some(epoch);
        if !keeps_epoch {
            (self.data.state, self.data.log_length) = (None, 0);
        }
        Some(epoch)
    }

    /// `fence_holds`, and whether the log still has the length that the rebuilder expects.
    fn fence_holds(&self, model: &LossModel, epoch: Epoch, expected_length: u8) -> bool {
        let is_unchanged = self.data.fence == Some(epoch)
            && epoch.server == self.epoch_server(model)
            && self.data.log_length == expected_length;
        is_unchanged
            || model.is_mutant(Mutant::NoFence)
            || model.is_mutant(Mutant::RebuildBesideEpoch)
    }

    /// `fill_rebuild.lua`: returns whether the fence holds; otherwise the rebuild starts again.
    pub fn fill_rebuild(&mut self, model: &LossModel, epoch: Epoch) -> bool {
        let holds = self.fence_holds(model, epoch, 0);
        if holds {
            self.add(epoch.nonce);
        }
        holds
    }

    /// `finish_rebuild.lua`: returns whether the fence holds; otherwise the rebuild starts again.
    pub fn finish_rebuild(&mut self, model: &LossModel, epoch: Epoch, last: u8) -> bool {
        let holds = self.fence_holds(model, epoch, last);
        if holds {
            // With a mutant, the length can differ. The log then takes effect as it was built.
            self.data.log_length = last;
            self.data.fence = None;
            self.data.state = Some(LogState {
                epoch,
                last,
                members: [None; 2],
            });
        }
        holds
    }
}
