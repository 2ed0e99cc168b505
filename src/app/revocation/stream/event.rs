//! What a reader is told.

use std::sync::Arc;

use latchkey_domain::revocation::{
    Entry,
    lease::{CheckSource, LogPosition},
    recent_entries::StreamEntry,
};
use time::OffsetDateTime;

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// Everything that still matters comes next.
    Snapshot {
        /// What comes holds all up to there.
        position: LogPosition<String>,
        /// About so many.
        entries: usize,
    },
    /// A part of everything.
    SnapshotEntry(Entry),
    /// That was everything.
    Synced(LogPosition<String>),
    /// Something was taken back.
    Revoked {
        /// What, and where in the log.
        told: StreamEntry,
        /// Under this epoch.
        epoch: Arc<str>,
    },
    /// All that was taken back until a lease ago was told.
    Heartbeat {
        /// It was all up to there.
        position: LogPosition<String>,
        /// The number of the last that was told.
        previous: u64,
        /// When this was so.
        at: OffsetDateTime,
    },
    /// This replica does not know whether it was all.
    Degraded {
        /// The source of its checks meanwhile.
        check_source: CheckSource,
    },
}

impl StreamEvent {
    /// What it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            StreamEvent::Snapshot { .. } => "snapshot",
            StreamEvent::SnapshotEntry(_) | StreamEvent::Revoked { .. } => "revoked",
            StreamEvent::Synced(_) => "synced",
            StreamEvent::Heartbeat { .. } => "heartbeat",
            StreamEvent::Degraded { .. } => "degraded",
        }
    }
}
