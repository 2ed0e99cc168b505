//! Security requirements and scopes of operations.
//!
//! In the framework, an extractor declares only the names of its security schemes. Therefore, it
//! appends the scope to a name, as in `password items:read`, and the two are split here. The
//! documented scope is thus always the enforced one.

use serde_json::{Map, Value, json};

/// Splits the names into schemes and scopes. An operation without authentication gets an empty
/// list, which documents that the operation is public.
pub fn patch(operation: &mut Value) {
    let operation = operation.as_object_mut().expect("an object");
    let requirements = operation.entry("security").or_insert(json!([]));
    for requirement in requirements
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        let old = std::mem::take(requirement);
        let split = old
            .into_iter()
            .map(|(name, scopes)| match name.split_once(' ') {
                Some((scheme, scope)) => (scheme.to_owned(), json!([scope])),
                None => (name, scopes),
            });
        *requirement = Map::from_iter(split);
    }
}
