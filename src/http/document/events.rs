//! Events of the revocation stream.
//!
//! OpenAPI 3.0 has no schema for a stream of events, and generated clients read a response to its
//! end. Therefore, the response is a string, and the extension `x-events` contains the schema of
//! each event for readers and tests.

use serde_json::{Map, Value, json};

use crate::http::api::revocation_stream;

/// Event and the schema name of its data.
const EVENTS: [(&str, &str); 5] = [
    ("snapshot", "SnapshotEvent"),
    ("synced", "SyncedEvent"),
    ("revoked", "RevokedEvent"),
    ("heartbeat", "HeartbeatEvent"),
    ("degraded", "DegradedEvent"),
];

/// Moves the schemas of the events to the response of the stream.
pub fn patch(document: &mut Value) {
    let schemas = document["components"]["schemas"]
        .as_object_mut()
        .expect("schemas");
    schemas.shift_remove("RevocationStreamEvent");
    let mut take = |(event, schema): (&str, &str)| {
        (
            event.to_owned(),
            schemas.shift_remove(schema).expect("a registered schema"),
        )
    };
    let mut events = Map::from_iter(EVENTS.map(&mut take));
    crate::http::openapi::patches::schemas::patch_each(&mut events);
    let stream = &mut document["paths"]["/revocations"]["get"]["responses"]["200"];
    stream["content"][revocation_stream::MEDIA_TYPE] =
        json!({ "schema": { "type": "string" }, "example": revocation_stream::example() });
    stream["x-events"] = Value::Object(events);
}
