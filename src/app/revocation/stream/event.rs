//! What a reader is told.

use std::sync::Arc;

use latchkey_domain::revocation::{
    Entry,
    lease::{Position, Rung},
    recent_entries::Told,
};
use time::OffsetDateTime;

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything that still matters comes next.
    Snapshot {
        /// What comes holds all up to there.
        position: Position<String>,
        /// About so many.
        entries: usize,
    },
    /// A part of everything.
    Known(Entry),
    /// That was everything.
    Synced(Position<String>),
    /// Something was taken back.
    Revoked {
        /// What, and where in the log.
        told: Told,
        /// Under this epoch.
        epoch: Arc<str>,
    },
    /// All that was taken back until a lease ago was told.
    Heartbeat {
        /// It was all up to there.
        position: Position<String>,
        /// The number of the last that was told.
        previous: u64,
        /// When this was so.
        at: OffsetDateTime,
    },
    /// This replica does not know whether it was all.
    Degraded {
        /// The source of its checks meanwhile.
        check_source: Rung,
    },
}

impl Event {
    /// What it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::Snapshot { .. } => "snapshot",
            Event::Known(_) | Event::Revoked { .. } => "revoked",
            Event::Synced(_) => "synced",
            Event::Heartbeat { .. } => "heartbeat",
            Event::Degraded { .. } => "degraded",
        }
    }
}
