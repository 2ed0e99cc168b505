//! Events of the revocation stream, and their format as server-sent events.

use std::fmt::Write;

use latchkey_domain::revocation::{
    Entry, EntryState, Subject, lease::LogPosition, recent_entries::StreamEntry,
};
use poem_openapi::{
    Object, Union,
    types::{Example, ToJSON},
};
use time::{OffsetDateTime, macros::datetime};
use uuid::uuid;

use crate::{app::revocation::StreamEvent, http::api::schemas::SESSION_ID};

/// Expiry of the revocations in examples.
const EXAMPLE_EXPIRY: OffsetDateTime = datetime!(2026-11-20 09:05:00 UTC);

/// Time of the heartbeat in examples.
const EXAMPLE_HEARTBEAT: OffsetDateTime = datetime!(2026-11-20 08:00:00 UTC);

/// Data of `snapshot`: all revocations in force follow as `revoked` without sequence numbers, then
/// `synced`.
#[derive(Object)]
#[oai(rename = "SnapshotEvent", example)]
pub struct SnapshotSchema {
    /// ID of the revocation log. Sequence numbers of different epochs aren't comparable.
    epoch_id: String,
    /// Sequence number of the last log entry that the snapshot certainly contains.
    sequence: u64,
    /// Approximate number of entries that follow.
    entries: usize,
}

/// Data of `revoked`: one revocation. A repeated one is harmless: the larger `min_generation` and
/// the later `expires_at` apply.
#[derive(Object)]
#[oai(rename = "RevokedEvent", example)]
pub struct RevokedSchema {
    /// Kind of the ID: `session`, `user`, `client`, `token`, or `key`. The ID of a `session`
    /// matches the claim `sid`, of a `user` or `client` the claim `sub`, of a `token` the claim
    /// `jti`, and of a `key` the header `kid`. Newer versions might add kinds. After an unknown
    /// kind, revocations might be missing, as after `degraded`.
    kind: String,
    /// ID of the session, user, client, token, or key.
    id: String,
    /// Lowest accepted value of the claim `generation`, for users and clients. Tokens with a lower
    /// value are revoked.
    min_generation: Option<i64>,
    /// Time when all affected tokens have expired. Keep the entry until then.
    expires_at: OffsetDateTime,
    /// Sequence number in the revocation log; `null` in a snapshot. Numbers increase, but not
    /// always by one.
    sequence: Option<u64>,
    /// Sequence number of the previous `revoked` event. If it is larger than the `sequence` of
    /// every `snapshot`, `synced`, and `revoked` event since the last `snapshot`, events are
    /// missing; reconnect without `Last-Event-ID`. `null` in a snapshot.
    previous_sequence: Option<u64>,
}

/// Data of `heartbeat`: the stream contains all revocations up to one lease ago
/// (`LATCHKEY_LEASE`).
#[derive(Object)]
#[oai(rename = "HeartbeatEvent", example)]
pub struct HeartbeatSchema {
    /// ID of the revocation log.
    epoch_id: String,
    /// Sequence number of the last log entry.
    sequence: u64,
    /// Sequence number of the last `revoked` event. If it is larger than the `sequence` of every
    /// `snapshot`, `synced`, and `revoked` event since the last `snapshot`, events are missing;
    /// reconnect without `Last-Event-ID`.
    previous_sequence: u64,
    /// Time of the heartbeat. If it is more than three seconds in the past, revocations might be
    /// missing.
    at: OffsetDateTime,
}

/// Data of `synced`: the snapshot is complete.
#[derive(Object)]
#[oai(rename = "SyncedEvent", example)]
pub struct SyncedSchema {
    /// ID of the revocation log.
    epoch_id: String,
    /// Sequence number of the last log entry that the snapshot certainly contains.
    sequence: u64,
}

/// Data of `degraded`: revocations might be missing until the next `heartbeat`.
#[derive(Object)]
#[oai(rename = "DegradedEvent", example)]
pub struct DegradedSchema {
    /// Current source of this replica's token checks: `redis`, `postgres`, or `unavailable`.
    check_source: String,
}

/// Data of one event.
#[derive(Union)]
#[oai(rename = "RevocationStreamEvent")]
pub enum RevocationStreamEventSchema {
    /// One revocation.
    Revoked(RevokedSchema),
    /// The stream is current.
    Heartbeat(HeartbeatSchema),
    /// A snapshot follows.
    Snapshot(SnapshotSchema),
    /// The snapshot is complete.
    Synced(SyncedSchema),
    /// Revocations might be missing.
    Degraded(DegradedSchema),
}

impl RevokedSchema {
    fn new(entry: &Entry, stream_entry: Option<&StreamEntry>) -> RevokedSchema {
        RevokedSchema {
            kind: entry.subject.kind().to_owned(),
            id: entry.subject.id(),
            min_generation: entry.below(),
            expires_at: expires_at(entry),
            sequence: stream_entry.map(|entry| entry.number),
            previous_sequence: stream_entry.map(|entry| entry.previous),
        }
    }
}

/// Expiration time of an entry, at most the end of year 9999, which is the limit of RFC 3339.
fn expires_at(entry: &Entry) -> OffsetDateTime {
    let seconds = i64::try_from(entry.state.expires_at).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(datetime!(9999-12-31 23:59:59 UTC))
}

impl Example for RevokedSchema {
    fn example() -> Self {
        RevokedSchema {
            kind: "session".to_owned(),
            id: SESSION_ID.to_string(),
            min_generation: None,
            expires_at: EXAMPLE_EXPIRY,
            sequence: Some(4711),
            previous_sequence: Some(4709),
        }
    }
}

impl Example for SnapshotSchema {
    fn example() -> Self {
        let LogPosition {
            epoch: epoch_id,
            applied: sequence,
        } = example_position();
        SnapshotSchema {
            epoch_id,
            sequence,
            entries: 1,
        }
    }
}

impl Example for SyncedSchema {
    fn example() -> Self {
        let LogPosition {
            epoch: epoch_id,
            applied: sequence,
        } = example_position();
        SyncedSchema { epoch_id, sequence }
    }
}

impl Example for HeartbeatSchema {
    fn example() -> Self {
        let LogPosition {
            epoch: epoch_id,
            applied: sequence,
        } = example_position();
        HeartbeatSchema {
            epoch_id,
            sequence,
            previous_sequence: sequence,
            at: EXAMPLE_HEARTBEAT,
        }
    }
}

impl Example for DegradedSchema {
    fn example() -> Self {
        DegradedSchema {
            check_source: "postgres".to_owned(),
        }
    }
}

/// Example of a stream, for the OpenAPI document.
pub fn example() -> String {
    let position_at = |applied| LogPosition {
        applied,
        ..example_position()
    };
    let entry = |session_id| Entry {
        subject: Subject::Session(session_id),
        state: EntryState {
            value: EntryState::FLAG,
            expires_at: EXAMPLE_EXPIRY.unix_timestamp().unsigned_abs(),
        },
    };
    let (start, end) = (4709, example_position().applied);
    let events = [
        StreamEvent::Snapshot {
            position: position_at(start),
            entries: 1,
        },
        StreamEvent::SnapshotEntry(entry(uuid!("019a9f5e-8a40-7c22-8b17-5d1e0f3a6b90"))),
        StreamEvent::Synced(position_at(start)),
        StreamEvent::Revoked {
            entry: StreamEntry {
                entry: entry(SESSION_ID),
                number: end,
                previous: start,
            },
            epoch: example_position().epoch.into(),
        },
        StreamEvent::Heartbeat {
            position: position_at(end),
            previous: end,
            at: EXAMPLE_HEARTBEAT,
        },
    ];
    let mut text = String::new();
    events
        .iter()
        .for_each(|event| write_event(&mut text, event));
    text
}

/// Example of a position in the revocation log.
pub fn example_position() -> LogPosition<String> {
    let epoch = "8f6c5a0d3b1e4f72960a4cde81b35f7a2d9e0c46:5e0b6f2c1a7e4d3e9d557c1b019a9f5e";
    LogPosition {
        epoch: epoch.to_owned(),
        applied: 4711,
    }
}

impl From<&StreamEvent> for RevocationStreamEventSchema {
    fn from(event: &StreamEvent) -> RevocationStreamEventSchema {
        match event.clone() {
            StreamEvent::Snapshot {
                position:
                    LogPosition {
                        epoch: epoch_id,
                        applied: sequence,
                    },
                entries,
            } => RevocationStreamEventSchema::Snapshot(SnapshotSchema {
                epoch_id,
                sequence,
                entries,
            }),
            StreamEvent::SnapshotEntry(entry) => {
                RevocationStreamEventSchema::Revoked(RevokedSchema::new(&entry, None))
            }
            StreamEvent::Revoked {
                entry: stream_entry,
                ..
            } => RevocationStreamEventSchema::Revoked(RevokedSchema::new(
                &stream_entry.entry,
                Some(&stream_entry),
            )),
            StreamEvent::Synced(LogPosition {
                epoch: epoch_id,
                applied: sequence,
            }) => RevocationStreamEventSchema::Synced(SyncedSchema { epoch_id, sequence }),
            StreamEvent::Heartbeat {
                position:
                    LogPosition {
                        epoch: epoch_id,
                        applied: sequence,
                    },
                previous,
                at,
            } => RevocationStreamEventSchema::Heartbeat(HeartbeatSchema {
                epoch_id,
                sequence,
                previous_sequence: previous,
                at,
            }),
            StreamEvent::Degraded { check_source } => {
                RevocationStreamEventSchema::Degraded(DegradedSchema {
                    check_source: check_source.as_str().to_owned(),
                })
            }
        }
    }
}

/// Appends an event to the text. Only events at which a client can resume have an ID (HTML Standard
/// section 9.2, `Last-Event-ID`).
pub fn write_event(text: &mut String, event: &StreamEvent) {
    let id = match event {
        StreamEvent::Synced(position) => Some(position.to_string()),
        StreamEvent::Revoked {
            entry: stream_entry,
            epoch,
        } => {
            let position = LogPosition {
                epoch: epoch.to_string(),
                applied: stream_entry.number,
            };
            Some(position.to_string())
        }
        StreamEvent::Snapshot { .. }
        | StreamEvent::SnapshotEntry(_)
        | StreamEvent::Heartbeat { .. }
        | StreamEvent::Degraded { .. } => None,
    };
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = RevocationStreamEventSchema::from(event).to_json_string();
    let result: Result<(), _> = write!(text, "event: {}\n{id}data: {data}\n\n", event.into_str());
    result.expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use latchkey_domain::revocation::lease::CheckSource;

    fn event_text(event: &StreamEvent) -> String {
        let mut text = String::new();
        write_event(&mut text, event);
        text
    }

    #[test]
    fn events_are_written_as_server_sent_events() {
        let state = EntryState {
            value: 3,
            expires_at: 1_795_163_100,
        };
        let entry = Entry {
            subject: Subject::User(Uuid::nil()),
            state,
        };
        let stream_entry = StreamEntry {
            entry,
            number: 7,
            previous: 5,
        };
        assert_eq!(
            event_text(&StreamEvent::Revoked {
                entry: stream_entry,
                epoch: "a:b".into()
            }),
            "event: revoked\nid: a:b:7\ndata: {\"kind\":\"user\",\
             \"id\":\"00000000-0000-0000-0000-000000000000\",\"min_generation\":3,\
             \"expires_at\":\"2026-11-20T08:25:00Z\",\"sequence\":7,\"previous_sequence\":5}\n\n"
        );
        assert!(
            event_text(&StreamEvent::SnapshotEntry(entry))
                .ends_with("\"sequence\":null,\"previous_sequence\":null}\n\n")
        );
        assert_eq!(
            event_text(&StreamEvent::Degraded {
                check_source: CheckSource::Postgres
            }),
            "event: degraded\ndata: {\"check_source\":\"postgres\"}\n\n"
        );
    }
}
