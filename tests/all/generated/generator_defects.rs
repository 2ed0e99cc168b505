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

/// Rust sends the token once for each flow of a scheme, and a duplicate token is rejected.
#[test]
fn schemes_have_one_flow() {
    let schemes = DOCUMENT["components"]["securitySchemes"]
        .as_object()
        .expect("schemes")
        .values();
    let flows = schemes.filter_map(|scheme| scheme["flows"].as_object());
    assert_eq!(flows.map(|flows| flows.len()).collect::<Vec<_>>(), [1, 1]);
}

/// Rust sends `oauth_access_token` once for each OAuth scheme of an operation. (The http scheme is
/// another field, `bearer_access_token`.) The revocation stream has two OAuth schemes; the
/// generated client can't read a stream anyway.
#[test]
fn operations_have_one_oauth_scheme() {
    for operation in
        operations().filter(|operation| operation["operationId"] != "streamRevocations")
    {
        let ways = operation["security"]
            .as_array()
            .expect("it says who may call it");
        let oauth = ways.iter().filter(|way| {
            way.get("password")
                .or(way.get("clientCredentials"))
                .is_some()
        });
        assert!(oauth.count() <= 1, "{operation}");
    }
}

/// Swagger UI's *Authorize* takes a pasted token, or username and password.
#[test]
fn operations_of_users_list_bearer_password_and_cookie_in_this_order() {
    let schemes: Vec<_> = DOCUMENT["components"]["securitySchemes"]
        .as_object()
        .expect("schemes")
        .keys()
        .collect();
    assert_eq!(
        schemes,
        [
            "bearer",
            "password",
            "clientCredentials",
            "sessionCookie",
            "clientBasic"
        ]
    );
    let mut seen = 0;
    for operation in operations() {
        let ways = operation["security"].as_array().expect("a list");
        let names: Vec<_> = ways
            .iter()
            .filter_map(|way| way.as_object()?.keys().next())
            .filter(|name| *name != "clientCredentials")
            .collect();
        if names
            .iter()
            .any(|name| *name == "password" || *name == "bearer")
        {
            assert_eq!(
                names,
                ["bearer", "password", "sessionCookie"],
                "{}",
                operation["operationId"]
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
