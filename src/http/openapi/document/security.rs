//! Who may call an operation, and with which scope. The framework knows names of schemes only, so
//! an extractor returns "password items:read", which is split here: what is documented is what is
//! enforced.

use serde_json::{Map, Value, json};

/// Takes the names apart. An operation for anybody says so: what says nothing may have been
/// forgotten.
pub fn patch(operation: &mut Value) {
    let operation = operation.as_object_mut().expect("an operation is a map");
    let ways = operation.entry("security").or_insert(json!([]));
    for way in ways
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        let old = std::mem::take(way);
        *way = Map::from_iter(
            old.into_iter()
                .map(|(name, scopes)| match name.split_once(' ') {
                    Some((scheme, scope)) => (scheme.to_owned(), json!([scope])),
                    None => (name, scopes),
                }),
        );
    }
}
