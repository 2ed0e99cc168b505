//! A replica that may hold a lease: its keeper.

use latchkey_domain::revocation::lease::{
    LogHealth, LogPosition, Renewal, accept_renewal, lease_end,
};

use super::{LEASE, Losses, NOW, State, ago, older, redis::Epoch};
use crate::mutants::Mutant;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Replica {
    pub running: bool,
    /// Epoch, and the number of the last entry applied.
    position: Option<(Epoch, u8)>,
    /// Whether the revocation is in memory.
    pub knows: bool,
    /// Ticks until the lease ends.
    pub left: u8,
    /// An answer on its way: how long ago it was asked for, and the last number.
    page: Option<(u8, u8)>,
    pub sight: LogHealth,
    /// Its connection goes to a master that was deposed.
    pub with_old: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    Join,
    Renew,
    /// The answer to the renewal is read.
    Read,
    /// The connection to the deposed master breaks, and the next one goes to the new master.
    Reconnect,
}

impl Default for Replica {
    fn default() -> Replica {
        Replica {
            running: false,
            position: None,
            knows: false,
            left: 0,
            page: None,
            sight: LogHealth::NotSeen,
            with_old: false,
        }
    }
}

impl Replica {
    /// One that has joined the first log, and read nothing of it.
    pub fn member() -> Replica {
        Replica {
            running: true,
            position: Some((Epoch::FIRST, 0)),
            ..Replica::default()
        }
    }

    pub fn tick(&mut self) {
        self.left = self.left.saturating_sub(1);
        if let Some((age, _)) = &mut self.page {
            *age = older(*age);
        }
    }

    pub fn stay_with_old(&mut self) {
        self.with_old = self.running;
    }
}

impl State {
    pub fn steps_of_replica(&self, at: usize, mut may: impl FnMut(Step)) {
        let replica = &self.replicas[at];
        if !replica.running {
            return may(Step::Start);
        }
        may(match (replica.position, replica.page) {
            (_, Some(_)) => Step::Read,
            (Some(_), None) => Step::Renew,
            (None, None) => Step::Join,
        });
        if replica.with_old {
            may(Step::Reconnect);
        }
    }

    pub fn step_of_replica(&mut self, model: &Losses, at: usize, step: Step) {
        match step {
            Step::Start => self.replicas[at].running = true,
            // A deposed master refuses what writes, and both of these do.
            Step::Join | Step::Renew if self.replicas[at].with_old => {
                self.replicas[at].sight = LogHealth::Unreachable
            }
            Step::Join => match self.redis.join(model, at) {
                Some(epoch) => self.replicas[at].position = Some((epoch, 0)),
                None => self.replicas[at].sight = LogHealth::Lost,
            },
            Step::Renew => self.renew(model, at),
            Step::Read => self.read(at),
            Step::Reconnect => self.replicas[at].with_old = false,
        }
    }

    fn renew(&mut self, model: &Losses, at: usize) {
        let replica = &mut self.replicas[at];
        let Some((epoch, applied)) = replica.position else {
            return;
        };
        match self.redis.renew(model, at, epoch, applied) {
            Some(Some(last)) => replica.page = Some((0, last)),
            Some(None) => replica.position = None,
            None => (replica.position, replica.sight) = (None, LogHealth::Lost),
        }
    }

    fn read(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let (Some((epoch, applied)), Some((age, last))) = (replica.position, replica.page.take())
        else {
            return;
        };
        replica.sight = LogHealth::Complete;
        let mine = LogPosition {
            epoch,
            applied: u64::from(applied),
        };
        match accept_renewal(
            &mine,
            &epoch,
            (applied + 1..=last).map(u64::from),
            u64::from(last),
        ) {
            Renewal::Complete => {
                replica.knows |= last > applied;
                replica.position = Some((epoch, last));
                let end = lease_end(ago(age), LEASE);
                replica.left = u8::try_from(end.saturating_sub(NOW)).expect("no lease is as long");
            }
            Renewal::Partial | Renewal::Rejected => replica.position = None,
        }
    }

    /// What Redis tells a check on this replica; nothing where it refuses, or has no epoch.
    pub fn find(&self, model: &Losses, at: usize) -> Result<Option<bool>, Refused> {
        match self.old.filter(|_| self.replicas[at].with_old) {
            // The script of a check writes as well, so that such a server refuses it.
            Some(old) if model.is(Mutant::CheckOnlyReads) => Ok(old.find(model)),
            Some(_) => Err(Refused),
            None => Ok(self.redis.find(model)),
        }
    }
}

/// A server refuses a write.
pub struct Refused;
