//! Forward authentication: the responses to a proxy, and real proxies with the configurations of
//! `deploy/` that must enforce them.

pub mod application; // the application behind a proxy, which captures requests
mod assertions; // signed identity assertions
mod cases; // requests of clients to real proxies, and their expected outcomes
mod cookies; // checks of session cookies
mod half_open; // the connection between a proxy and the server
mod matrix; // every case × every proxy
mod original_request; // fields about the original request that are repeated or contradictory
pub mod proxies; // nginx, Caddy, and HAProxy as processes
mod requirements; // methods, paths, required roles and scopes, identity headers
mod stripping; // cookies of the server, which the application never receives

use reqwest::{Method, RequestBuilder};

use crate::test_server::{Session, TestResponse, TestServer};

/// The identity headers, which every response of the check contains.
pub const IDENTITY: [&str; 10] = [
    "x-auth-user",
    "x-auth-username",
    "x-auth-name",
    "x-auth-email",
    "x-auth-email-verified",
    "x-auth-roles",
    "x-auth-groups",
    "x-auth-scope",
    "x-auth-session",
    "x-auth-assertion",
];

/// A check, as a proxy sends it.
fn check_request(server: &TestServer, query: &str) -> RequestBuilder {
    server.request(Method::GET, &format!("/auth/verify{query}"))
}

/// Sends a check with a bearer token.
async fn verify(server: &TestServer, session: &Session, query: &str) -> TestResponse {
    server
        .send(check_request(server, query).bearer_auth(&session.access_token))
        .await
}

/// Asserts that each identity header is present once, and returns the values.
#[track_caller]
fn identity(response: &TestResponse) -> [String; 10] {
    IDENTITY.map(|name| {
        let fields: Vec<_> = response.headers.get_all(name).iter().collect();
        assert_eq!(fields.len(), 1, "{name}: {fields:?}");
        fields[0].to_str().expect("plain text").to_owned()
    })
}

/// Asserts that the check fails, and that the response contains no identity.
#[track_caller]
fn assert_rejected(response: &TestResponse, status: u16, code: &str) {
    response.is(status, code);
    assert!(
        identity(response).iter().all(String::is_empty),
        "{:?}",
        response.headers
    );
    let vary: Vec<_> = response.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Authorization, Cookie"], "{status} {code}");
    assert_eq!(response.header("cache-control"), "no-store");
    assert!(
        !response.headers.contains_key("set-cookie"),
        "an error response sets or clears no cookie"
    );
}
