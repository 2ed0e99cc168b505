//! What generators stumbled over, so that it does not come back where they are not at hand: each of
//! these made a client that did not compile, or that was refused.

use serde_json::Value;

use crate::contract::DOCUMENT;

/// Schemas become types beside those that a client brings of its own.
const TAKEN: [(&str, &str); 8] = [
    ("Client", "Python"),
    ("AuthenticatedClient", "Python"),
    ("Pair", "Java"),
    ("ApiClient", "Java"),
    ("ApiResponse", "Java"),
    ("Configuration", "Go, Java"),
    ("APIClient", "Go"),
    ("Error", "Rust"),
];

fn schemas() -> impl Iterator<Item = (&'static String, &'static Value)> {
    DOCUMENT["components"]["schemas"]
        .as_object()
        .expect("schemas")
        .iter()
}

fn operations() -> impl Iterator<Item = &'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths").values();
    paths.flat_map(|path| path.as_object().expect("operations").values())
}

#[test]
fn no_schema_has_a_name_that_is_taken() {
    for (name, _) in schemas() {
        assert!(TAKEN.iter().all(|(taken, _)| taken != name), "{name}");
        // In Go, `NewItem` makes an `Item`.
        let made = name.strip_prefix("New").unwrap_or_default();
        assert!(
            schemas().all(|(other, _)| other != made),
            "{name}, and {made}"
        );
    }
}

/// Go sends a form as JSON where both may be sent, Java and Python do not compile.
#[test]
fn bodies_have_one_media_type() {
    let bodies =
        operations().filter_map(|operation| operation["requestBody"]["content"].as_object());
    assert!(
        bodies
            .inspect(|content| assert_eq!(content.len(), 1, "{content:?}"))
            .count()
            > 20
    );
}

/// Rust sends the token once for each flow of a scheme, and twice is refused.
#[test]
fn schemes_have_one_flow() {
    let schemes = DOCUMENT["components"]["securitySchemes"]
        .as_object()
        .expect("schemes")
        .values();
    let flows = schemes.filter_map(|scheme| scheme["flows"].as_object());
    assert_eq!(flows.map(|flows| flows.len()).collect::<Vec<_>>(), [1, 1]);
}

/// So does it for each scheme of an operation. What clients follow is a stream, which it cannot
/// read anyway.
#[test]
fn operations_have_one_scheme_that_sends_a_bearer_token() {
    for operation in
        operations().filter(|operation| operation["operationId"] != "followRevocations")
    {
        let ways = operation["security"]
            .as_array()
            .expect("it says who may call it");
        let bearers = ways
            .iter()
            .filter(|way| way.get("session").or(way.get("service")).is_some());
        assert!(bearers.count() <= 1, "{operation}");
    }
}
