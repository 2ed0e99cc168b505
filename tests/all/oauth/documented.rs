//! The OpenAPI document lists exactly the client errors that each OAuth operation returns.

use std::collections::BTreeSet;

use super::Fixture;
use crate::{contract::DOCUMENT, test_server::TestServer};

/// An error of an operation: path, status, and code.
type OperationError = (String, u16, String);

/// Returns the documented client errors, except for those of the request middleware.
fn documented_errors(path: &str) -> Vec<OperationError> {
    let responses = &DOCUMENT["paths"][path]["post"]["responses"];
    let responses = responses.as_object().expect("responses");
    let errors = responses.iter().flat_map(|(status, response)| {
        let status: u16 = status.parse().expect("a status");
        let description = response["description"].as_str().expect("a description");
        let codes = description.split('`').skip(1).step_by(2);
        codes.map(move |code| (path.to_owned(), status, code.to_owned()))
    });
    errors
        .filter(|(_, status, _)| (400..500).contains(status) && *status != 406)
        .collect()
}

#[tokio::test]
async fn documented_errors_are_the_returned_ones() {
    let settings = [
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_REFRESH_FAILURES", "1/1h"),
    ];
    let fixture = Fixture::of(TestServer::with(&settings).await).await;
    let client = &fixture.client;
    let grant = ("grant_type", "client_credentials");
    let wrong_secret = [
        ("client_id", client.id.as_str()),
        ("client_secret", "wrong"),
    ];
    let unknown_refresh_token = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "unknown"),
    ];
    let user_token = [("token", fixture.session.access_token.as_str())];
    let [token, revoke, introspect] = ["/oauth/token", "/oauth/revoke", "/oauth/introspect"];
    let requests = [
        (token, vec![("grant_type", "refresh_token")]),
        (token, vec![("grant_type", "password")]),
        (token, client.form(&[grant, ("scope", "admin")])),
        (
            token,
            client.form(&[grant, ("resource", "https://other.example")]),
        ),
        (token, [&wrong_secret[..], &[grant]].concat()),
        // The second failure exceeds the rate limit.
        (token, unknown_refresh_token.to_vec()),
        (token, unknown_refresh_token.to_vec()),
        (revoke, Vec::new()),
        (revoke, client.form(&user_token)),
        (revoke, [&wrong_secret[..], &user_token].concat()),
        (introspect, client.form(&[])),
        (introspect, user_token.to_vec()),
    ];
    let mut returned = BTreeSet::new();
    for (path, form) in requests {
        let response = fixture.server.form(path, &form).await;
        returned.insert((path.to_owned(), response.status, response.text("error")));
    }
    let documented = [token, revoke, introspect].map(documented_errors).concat();
    assert_eq!(returned, documented.into_iter().collect());
}
