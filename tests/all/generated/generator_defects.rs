//! Regression tests for the defects of generators, which run without the generators.
//!
//! Each defect led to a client that did not compile, or whose requests the server rejected.

use serde_json::Value;

use crate::contract::DOCUMENT;

/// Types that generated clients define themselves, and the languages of these clients.
const RESERVED_NAMES: [(&str, &str); 8] = [
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
fn schema_names_are_not_reserved() {
    for (name, _) in schemas() {
        assert!(
            RESERVED_NAMES.iter().all(|(reserved, _)| reserved != name),
            "{name}"
        );
        // In Go, the function `NewItem` creates an `Item`.
        let constructed = name.strip_prefix("New").unwrap_or_default();
        assert!(
            schemas().all(|(other, _)| other != constructed),
            "{name}, and {constructed}"
        );
    }
}

/// If a body has two media types, the Go client sends forms as JSON, and the Java and Python
/// clients do not compile.
#[test]
fn request_bodies_have_one_media_type() {
    let bodies =
        operations().filter_map(|operation| operation["requestBody"]["content"].as_object());
    assert!(
        bodies
            .inspect(|content| assert_eq!(content.len(), 1, "{content:?}"))
            .count()
            > 20
    );
}

/// The Rust client sends the token once for each flow of a scheme, and the server rejects
/// duplicate tokens.
#[test]
fn security_schemes_have_one_flow() {
    let schemes = DOCUMENT["components"]["securitySchemes"]
        .as_object()
        .expect("schemes")
        .values();
    let flows = schemes.filter_map(|scheme| scheme["flows"].as_object());
    assert_eq!(flows.map(|flows| flows.len()).collect::<Vec<_>>(), [1, 1]);
}

/// The Rust client sends `oauth_access_token` once for each OAuth scheme of an operation.
///
/// The http scheme has a separate field, `bearer_access_token`. The revocation stream is exempt,
/// because generated clients cannot read a stream.
#[test]
fn operations_have_one_oauth_scheme() {
    for operation in
        operations().filter(|operation| operation["operationId"] != "streamRevocations")
    {
        let requirements = operation["security"]
            .as_array()
            .expect("a list of security requirements");
        let oauth = requirements.iter().filter(|requirement| {
            requirement
                .get("password")
                .or(requirement.get("clientCredentials"))
                .is_some()
        });
        assert!(oauth.count() <= 1, "{operation}");
    }
}

/// In this order, the *Authorize* dialog of Swagger UI accepts a token, or a username and a
/// password.
#[test]
fn user_operations_list_bearer_password_and_cookie() {
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
    let mut count = 0;
    for operation in operations() {
        let requirements = operation["security"].as_array().expect("a list");
        let names: Vec<_> = requirements
            .iter()
            .filter_map(|requirement| requirement.as_object()?.keys().next())
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
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
