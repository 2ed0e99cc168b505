//! What the events of the feed say. To OpenAPI 3.0 a stream is a text, and its generators would
//! read it to its end; so the data of each event stand beside it, where people and our own tests
//! find them.

use serde_json::{Map, Value, json};

use crate::http::api::revocation_stream;

/// Each event, and the framework's name for what it says.
const EVENTS: [(&str, &str); 5] = [
    ("snapshot", "SnapshotEvent"),
    ("synced", "SyncedEvent"),
    ("revoked", "RevokedEvent"),
    ("heartbeat", "HeartbeatEvent"),
    ("degraded", "DegradedEvent"),
];

/// Moves them from the schemas to the stream.
pub fn patch(document: &mut Value) {
    let schemas = document["components"]["schemas"]
        .as_object_mut()
        .expect("there are schemas");
    schemas.shift_remove("RevocationStreamEvent");
    let mut take = |(event, schema): (&str, &str)| {
        (
            event.to_owned(),
            schemas.shift_remove(schema).expect("it is registered"),
        )
    };
    let mut events = Map::from_iter(EVENTS.map(&mut take));
    crate::http::openapi::document::schemas::patch_schema(&mut events);
    let stream = &mut document["paths"]["/revocations"]["get"]["responses"]["200"];
    stream["content"][revocation_stream::MEDIA_TYPE] =
        json!({ "schema": { "type": "string" }, "example": revocation_stream::example() });
    stream["x-events"] = Value::Object(events);
}
