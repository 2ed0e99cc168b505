//! One Redis server and the scripts of the revocation log, each one step, as its `.lua` file has
//! it.

use super::{super::mutants::Mutant, Losses};

/// A server: who it is, the history that its data belong to, and the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    /// Its run_id: it survives whatever happens to the data.
    pub id: u8,
    /// Its replication id: another one with every promotion.
    pub history: u8,
    pub data: Data,
}

/// What a flush takes along, and what a replica copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Data {
    pub state: Option<Log>,
    /// The length of the stream.
    pub log: u8,
    /// The revocation's own key: the nonce of the epoch under which it was written.
    pub denied: Option<u8>,
    pub building: Option<Epoch>,
}

/// The hash beside the log, which says how it should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Log {
    pub epoch: Epoch,
    pub last: u8,
    /// How far each member has applied the log.
    pub members: [Option<u8>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Of the server that it was begun on: history, or only its id.
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
    /// The first epoch with an empty log, and a member.
    pub fn at_first() -> Server {
        let state = Some(Log {
            epoch: Epoch::FIRST,
            last: 0,
            members: [Some(0), None],
        });
        Server {
            id: 0,
            history: 0,
            data: Data {
                state,
                ..Data::default()
            },
        }
    }

    /// What an epoch of this server begins with.
    fn here(&self, model: &Losses) -> u8 {
        if model.is(Mutant::EpochByRunId) {
            self.id
        } else {
            self.history
        }
    }

    /// `epoch_of`: the state, if its epoch is that of this server.
    fn epoch_of(&self, model: &Losses) -> Option<Log> {
        self.data
            .state
            .filter(|log| log.epoch.server == self.here(model) || model.is(Mutant::NoEpochCheck))
    }

    /// `log_of`: the same, if the log has the ends that the state says.
    pub fn log_of(&self, model: &Losses) -> Option<Log> {
        self.epoch_of(model)
            .filter(|log| log.last == self.data.log || model.is(Mutant::NoEndsCheck))
    }

    /// `add`: the entry, unless the log of this epoch has it already. Its number.
    fn add(&mut self, nonce: u8) -> u8 {
        if self.data.denied != Some(nonce) {
            self.data.log += 1;
            self.data.denied = Some(nonce);
        }
        self.data.log
    }

    /// `revoke.lua`: epoch, number and members; nothing where there is no epoch.
    pub fn revoke(&mut self, model: &Losses) -> Option<Log> {
        let log = self.log_of(model)?;
        let last = self.add(log.epoch.nonce);
        self.data.state = Some(Log { last, ..log });
        self.data.state
    }

    /// `join_log.lua`: the epoch. The number before the first entry is 0, because nothing grows old
    /// here.
    pub fn join(&mut self, model: &Losses, member: usize) -> Option<Epoch> {
        let mut log = self.log_of(model)?;
        log.members[member] = Some(0);
        self.data.state = Some(log);
        Some(log.epoch)
    }

    /// `renew_lease.lua`: the last number; nothing inside where the epoch is another or there is no
    /// such member.
    pub fn renew(
        &mut self,
        model: &Losses,
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

    /// `find_revocations.lua`: whether the revocation is there; nothing where there is no epoch.
    pub fn find(&self, model: &Losses) -> Option<bool> {
        let counts = self.epoch_of(model).is_some() || model.is(Mutant::MissWithoutEpoch);
        counts.then_some(self.data.denied.is_some())
    }

    /// `begin_rebuild.lua`: the epoch of the log to be; nothing under a good one, unless that is to
    /// be replaced.
    pub fn begin(&mut self, model: &Losses, nonce: u8, replace: bool) -> Option<Epoch> {
        let beside = model.is(Mutant::BuildingBesideEpoch);
        if self.log_of(model).is_some() && !beside && !replace {
            return None;
        }
        let epoch = Epoch {
            server: self.here(model),
            nonce,
        };
        self.data.building = Some(epoch);
        if !beside {
            (self.data.state, self.data.log) = (None, 0);
        }
        Some(epoch)
    }

    /// `is_building`, and that the log is as long as the one who builds it has left it.
    fn is_building(&self, model: &Losses, epoch: Epoch, length: u8) -> bool {
        let mine = self.data.building == Some(epoch)
            && epoch.server == self.here(model)
            && self.data.log == length;
        mine || model.is(Mutant::NoFence) || model.is(Mutant::BuildingBesideEpoch)
    }

    /// `fill_rebuild.lua`: whether it was not for nothing.
    pub fn fill(&mut self, model: &Losses, epoch: Epoch) -> bool {
        let builds = self.is_building(model, epoch, 0);
        if builds {
            self.add(epoch.nonce);
        }
        builds
    }

    /// `finish_rebuild.lua`: the same.
    pub fn finish(&mut self, model: &Losses, epoch: Epoch, last: u8) -> bool {
        let builds = self.is_building(model, epoch, last);
        if builds {
            // Where nobody compares, what was built comes into force as it is.
            self.data.log = last;
            self.data.building = None;
            self.data.state = Some(Log {
                epoch,
                last,
                members: [None; 2],
            });
        }
        builds
    }
}
