//! The scope that an operation wants. The framework knows names of schemes only, so an extractor says "session items:read",
//! which is taken apart here: what is documented is what is enforced.

use serde_json::{Map, Value, json};

/// Takes the names apart.
pub fn mend(operation: &mut Value) {
    let Some(ways) = operation.get_mut("security").and_then(Value::as_array_mut) else { return };
    for way in ways.iter_mut().filter_map(Value::as_object_mut) {
        let old = std::mem::take(way);
        *way = Map::from_iter(old.into_iter().map(|(name, scopes)| match name.split_once(' ') {
            Some((scheme, scope)) => (scheme.to_owned(), json!([scope])),
            None => (name, scopes),
        }));
    }
}
