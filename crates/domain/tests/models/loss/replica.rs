//! A replica that can hold a lease, with its lease worker.

use latchkey_domain::revocation::{
    lease::{LogHealth, LogPosition},
    lease_renewer::{LeaseRenewer, RenewalAction},
};

use super::{LEASE_LENGTH, LossModel, NOW, State, increment_age, redis::Epoch, ticks_ago};
use crate::{
    log_page::{page_after, to_u8},
    mutants::Mutant,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Replica {
    pub is_running: bool,
    /// Epoch, and sequence number of the last applied entry.
    position: Option<(Epoch, u8)>,
    /// Whether the revocation set contains the revocation.
    pub has_entry: bool,
    /// Ticks until the lease expires.
    pub lease_ticks: u8,
    /// Response to a renewal in flight: ticks since it was sent, and last sequence number.
    response: Option<(u8, u8)>,
    pub log_health: LogHealth,
    /// Whether the replica is connected to the deposed primary.
    pub uses_deposed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    Join,
    Renew,
    ReadResponse,
    /// The connection to the deposed primary breaks. The next one reaches the new primary.
    Reconnect,
}

impl Default for Replica {
    fn default() -> Replica {
        Replica {
            is_running: false,
            position: None,
            has_entry: false,
            lease_ticks: 0,
            response: None,
            log_health: LogHealth::NotSeen,
            uses_deposed: false,
        }
    }
}

impl Replica {
    /// A replica that has registered under the first epoch, and has not renewed yet.
    pub fn member() -> Replica {
        Replica {
            is_running: true,
            position: Some((Epoch::FIRST, 0)),
            ..Replica::default()
        }
    }

    pub fn tick(&mut self) {
        self.lease_ticks = self.lease_ticks.saturating_sub(1);
        if let Some((age, _)) = &mut self.response {
            *age = increment_age(*age);
        }
    }

    pub fn stay_with_deposed(&mut self) {
        self.uses_deposed = self.is_running;
    }
}

impl State {
    pub fn add_replica_steps(&self, index: usize, mut add: impl FnMut(Step)) {
        let replica = &self.replicas[index];
        if !replica.is_running {
            return add(Step::Start);
        }
        add(match (replica.position, replica.response) {
            (_, Some(_)) => Step::ReadResponse,
            (Some(_), None) => Step::Renew,
            (None, None) => Step::Join,
        });
        if replica.uses_deposed {
            add(Step::Reconnect);
        }
    }

    pub fn apply_replica_step(&mut self, model: &LossModel, index: usize, step: Step) {
        match step {
            Step::Start => self.replicas[index].is_running = true,
            // Both scripts write, so a deposed primary rejects them.
            Step::Join | Step::Renew if self.replicas[index].uses_deposed => {
                self.replicas[index].log_health = LogHealth::Unreachable
            }
            Step::Join => match self.redis.join(model, index) {
                Some(epoch) => self.replicas[index].position = Some((epoch, 0)),
                None => self.replicas[index].log_health = LogHealth::Lost,
            },
            Step::Renew => self.renew(model, index),
            Step::ReadResponse => self.read_response(index),
            Step::Reconnect => self.replicas[index].uses_deposed = false,
        }
    }

    fn renew(&mut self, model: &LossModel, index: usize) {
        let replica = &mut self.replicas[index];
        let Some((epoch, applied)) = replica.position else {
            return;
        };
        match self.redis.renew(model, index, epoch, applied) {
            Some(Some(last)) => replica.response = Some((0, last)),
            Some(None) => replica.position = None,
            None => (replica.position, replica.log_health) = (None, LogHealth::Lost),
        }
    }

    fn read_response(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let (Some((epoch, applied)), Some((age, last))) =
            (replica.position, replica.response.take())
        else {
            return;
        };
        replica.log_health = LogHealth::Complete;
        let position = LogPosition {
            epoch,
            applied: u64::from(applied),
        };
        let mut renewer = LeaseRenewer::at(Some(index), position);
        let page = page_after(applied, last, u8::MAX - applied, LEASE_LENGTH);
        let action = renewer.on_renewal(ticks_ago(age), NOW, page);
        replica.position = renewer
            .position()
            .map(|position| (epoch, to_u8(position.applied)));
        let RenewalAction::Apply { entries, extension } = action else {
            return;
        };
        replica.has_entry |= !entries.is_empty();
        if let Some(end) = extension.and_then(|extension| extension.lease_end) {
            replica.lease_ticks = to_u8(end.saturating_sub(NOW));
        }
    }

    /// Looks up the revocation in Redis for a check on this replica; `None` without an epoch.
    pub fn look_up_in_redis(
        &self,
        model: &LossModel,
        index: usize,
    ) -> Result<Option<bool>, WriteRejected> {
        match self.deposed.filter(|_| self.replicas[index].uses_deposed) {
            // The real script also writes, so that a deposed primary rejects it.
            Some(deposed) if model.is_mutant(Mutant::CheckOnlyReads) => {
                Ok(deposed.find_revocation(model))
            }
            Some(_) => Err(WriteRejected),
            None => Ok(self.redis.find_revocation(model)),
        }
    }
}

/// A deposed primary rejected a write.
pub struct WriteRejected;
