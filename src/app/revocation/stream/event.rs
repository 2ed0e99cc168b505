//! The events of the revocation stream.

use std::sync::Arc;

use latchkey_domain::revocation::{
    Entry,
    lease::{CheckSource, LogPosition},
    recent_entries::StreamEntry,
};
use strum::IntoStaticStr;
use time::OffsetDateTime;

/// An event of the revocation stream.
///
/// Its text is the name of the event in the stream.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum StreamEvent {
    /// A snapshot begins.
    Snapshot {
        /// The snapshot contains all entries up to this position.
        position: LogPosition<String>,
        /// The approximate number of entries.
        entries: usize,
    },
    /// An entry of the snapshot.
    #[strum(serialize = "revoked")]
    SnapshotEntry(Entry),
    /// The snapshot is complete.
    Synced(LogPosition<String>),
    /// A new revocation.
    Revoked {
        /// The entry, with its sequence number.
        entry: StreamEntry,
        /// The epoch of the log.
        epoch: Arc<str>,
    },
    /// The subscriber has received everything that was appended until a lease ago.
    Heartbeat {
        /// The position of the last entry.
        position: LogPosition<String>,
        /// The sequence number of the last entry that was sent.
        previous: u64,
        /// The time of the heartbeat.
        at: OffsetDateTime,
    },
    /// This replica holds no lease, so entries might be missing.
    Degraded {
        /// The current source of checks.
        check_source: CheckSource,
    },
}
