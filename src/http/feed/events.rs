//! What the events of the feed say, and how they stand in the stream.

use std::fmt::Write;

use poem_openapi::{
    Object, Union,
    types::{Example, ToJSON},
};
use time::{OffsetDateTime, macros::datetime};

use crate::{
    domain::revocation::{Entry, feed::Told, lease::Position},
    gateway::revocation::Event,
};

/// The data of `snapshot`: everything that still matters comes next, as `revoked` without numbers,
/// and then `current`.
#[derive(Object)]
#[oai(rename = "FeedSnapshot", example)]
pub struct SnapshotShape {
    /// The log that it is of. Numbers of two epochs have nothing to do with each other.
    epoch: String,
    /// The number of the last entry that it holds for sure.
    number: u64,
    /// About how many come.
    entries: usize,
}

/// The data of `revoked`: something was taken back. Twice the same does no harm: the larger `below`
/// and the later `until` count.
#[derive(Object)]
#[oai(rename = "FeedRevoked", example)]
pub struct RevokedShape {
    /// `session`, `user`, `client`, `token` or `key`: tokens with this `sid`, `sub`, `sub`, `jti`
    /// or (in the header) `kid`. There may be more kinds tomorrow; who meets one that it does not
    /// know may miss something, as after `blind`.
    kind: String,
    /// Which.
    id: String,
    /// Of a user or a client: tokens with a smaller `gen` are refused, and no others.
    below: Option<i64>,
    /// When all of these tokens have expired, and it may be forgotten.
    until: OffsetDateTime,
    /// Its number in the log; `null` in a snapshot. Numbers rise, but not by one.
    number: Option<u64>,
    /// The number of the `revoked` before. If it is above all numbers that were told, something was
    /// missed.
    previous: Option<u64>,
}

/// The data of `beat`: this replica knows everything that was taken back until a quarter of a
/// second ago, and has told it.
#[derive(Object)]
#[oai(rename = "FeedBeat", example)]
pub struct BeatShape {
    /// The log.
    epoch: String,
    /// The number of its last entry.
    number: u64,
    /// The number of the last `revoked`. If it is above all numbers that were told, something was
    /// missed.
    previous: u64,
    /// When this was so: if that is long ago, something holds the stream up.
    at: OffsetDateTime,
}

/// The data of `current`: everything up to there was told.
#[derive(Object)]
#[oai(rename = "FeedCurrent", example)]
pub struct CurrentShape {
    /// The log.
    epoch: String,
    /// The number of an entry.
    number: u64,
}

/// The data of `blind`: this replica may not know everything.
#[derive(Object)]
#[oai(rename = "FeedBlind", example)]
pub struct BlindShape {
    /// Who answers its checks instead: `redis`, `postgres`, or `none`.
    checks: String,
}

/// The data of one event.
#[derive(Union)]
#[oai(rename = "FeedEvent")]
pub enum EventShape {
    /// Something was taken back.
    Revoked(RevokedShape),
    /// All is known.
    Beat(BeatShape),
    /// Everything comes.
    Snapshot(SnapshotShape),
    /// Everything was told.
    Current(CurrentShape),
    /// Something may be missing.
    Blind(BlindShape),
}

impl RevokedShape {
    fn new(entry: &Entry, told: Option<&Told>) -> RevokedShape {
        RevokedShape {
            kind: entry.subject.told_as().unwrap_or_default().to_owned(),
            id: entry.subject.id(),
            below: entry.below(),
            until: until(entry),
            number: told.map(|told| told.number),
            previous: told.map(|told| told.previous),
        }
    }
}

/// A moment that no calendar has is long after everything.
fn until(entry: &Entry) -> OffsetDateTime {
    let seconds = i64::try_from(entry.standing.ends_at).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(datetime!(9999-12-31 23:59:59 UTC))
}

impl Example for RevokedShape {
    fn example() -> Self {
        RevokedShape {
            kind: "session".to_owned(),
            id: "019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42".to_owned(),
            below: None,
            until: datetime!(2026-11-20 09:05:00 UTC),
            number: Some(4711),
            previous: Some(4709),
        }
    }
}

impl Example for SnapshotShape {
    fn example() -> Self {
        let Position {
            epoch,
            applied: number,
        } = position();
        SnapshotShape {
            epoch,
            number,
            entries: 1,
        }
    }
}

impl Example for CurrentShape {
    fn example() -> Self {
        let Position {
            epoch,
            applied: number,
        } = position();
        CurrentShape { epoch, number }
    }
}

impl Example for BeatShape {
    fn example() -> Self {
        let Position {
            epoch,
            applied: number,
        } = position();
        BeatShape {
            epoch,
            number,
            previous: number,
            at: datetime!(2026-11-20 08:00:00 UTC),
        }
    }
}

impl Example for BlindShape {
    fn example() -> Self {
        BlindShape {
            checks: "postgres".to_owned(),
        }
    }
}

/// An example of a stream.
pub fn example() -> String {
    let events = [
        ("snapshot", SnapshotShape::example().to_json_string()),
        ("current", CurrentShape::example().to_json_string()),
        ("revoked", RevokedShape::example().to_json_string()),
        ("beat", BeatShape::example().to_json_string()),
    ];
    events
        .iter()
        .map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"))
        .collect()
}

/// An example of a position.
pub fn position() -> Position<String> {
    let epoch = "8f6c5a0d3b1e4f72960a4cde81b35f7a2d9e0c46:5e0b6f2c1a7e4d3e9d557c1b019a9f5e";
    Position {
        epoch: epoch.to_owned(),
        applied: 4711,
    }
}

impl From<&Event> for EventShape {
    fn from(event: &Event) -> EventShape {
        match event.clone() {
            Event::Snapshot {
                position:
                    Position {
                        epoch,
                        applied: number,
                    },
                entries,
            } => EventShape::Snapshot(SnapshotShape {
                epoch,
                number,
                entries,
            }),
            Event::Known(entry) => EventShape::Revoked(RevokedShape::new(&entry, None)),
            Event::Revoked { told, .. } => {
                EventShape::Revoked(RevokedShape::new(&told.entry, Some(&told)))
            }
            Event::Current(Position {
                epoch,
                applied: number,
            }) => EventShape::Current(CurrentShape { epoch, number }),
            Event::Beat {
                position:
                    Position {
                        epoch,
                        applied: number,
                    },
                previous,
                at,
            } => EventShape::Beat(BeatShape {
                epoch,
                number,
                previous,
                at,
            }),
            Event::Blind { checks } => EventShape::Blind(BlindShape {
                checks: checks.as_str().to_owned(),
            }),
        }
    }
}

/// An event as it stands in the stream. Only those have an id that a reader may go on from.
pub fn write(text: &mut String, event: &Event) {
    let id = match event {
        Event::Current(position) => Some(position.to_string()),
        Event::Revoked { told, epoch } => Some(format!("{epoch}:{}", told.number)),
        Event::Snapshot { .. } | Event::Known(_) | Event::Beat { .. } | Event::Blind { .. } => None,
    };
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = EventShape::from(event).to_json_string();
    let written: Result<(), _> = write!(text, "event: {}\n{id}data: {data}\n\n", event.name());
    written.expect("a text takes everything");
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::revocation::{Standing, Subject, lease::Rung};

    fn written(event: &Event) -> String {
        let mut text = String::new();
        write(&mut text, event);
        text
    }

    #[test]
    fn events_are_lines_with_an_empty_one_at_the_end() {
        let standing = Standing {
            value: 3,
            ends_at: 1_795_163_100,
        };
        let entry = Entry {
            subject: Subject::User(Uuid::nil()),
            standing,
        };
        let told = Told {
            entry,
            number: 7,
            previous: 5,
        };
        assert_eq!(
            written(&Event::Revoked {
                told,
                epoch: "a:b".into()
            }),
            "event: revoked\nid: a:b:7\ndata: {\"kind\":\"user\",\
             \"id\":\"00000000-0000-0000-0000-000000000000\",\"below\":3,\
             \"until\":\"2026-11-20T08:25:00Z\",\"number\":7,\"previous\":5}\n\n"
        );
        assert!(written(&Event::Known(entry)).ends_with("\"number\":null,\"previous\":null}\n\n"));
        assert_eq!(
            written(&Event::Blind {
                checks: Rung::Record
            }),
            "event: blind\ndata: {\"checks\":\"postgres\"}\n\n"
        );
    }
}
