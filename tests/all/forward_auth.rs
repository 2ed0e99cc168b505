//! Forward-auth: what a proxy is told, and whether real proxies with the configurations of
//! `deploy/` do as they are told.

mod application; // what stands behind a proxy, and tells what it got
mod assertions; // the signed identity
mod cases; // what clients do to real proxies, and what must come of it
mod cookies; // what passes by cookie, and on whose word
mod half_open; // between a proxy and the gateway
mod matrix; // every case × every proxy
mod proxies;
mod requirements; // the question itself: methods, paths, demands, identity // nginx, Caddy and HAProxy, as processes

use reqwest::{Method, RequestBuilder};

use crate::test_server::{Session, TestResponse, TestServer};

/// All that is said of a caller, on every answer.
pub const IDENTITY: [&str; 9] = [
    "x-auth-user",
    "x-auth-username",
    "x-auth-name",
    "x-auth-email",
    "x-auth-email-verified",
    "x-auth-roles",
    "x-auth-scope",
    "x-auth-session",
    "x-auth-assertion",
];

/// A proxy's question.
fn ask(server: &TestServer, query: &str) -> RequestBuilder {
    server.request(Method::GET, &format!("/auth/verify{query}"))
}

/// A proxy's question about a bearer token.
async fn verify(server: &TestServer, session: &Session, query: &str) -> TestResponse {
    server
        .send(ask(server, query).bearer_auth(&session.access_token))
        .await
}

/// Each header there once; what they say.
#[track_caller]
fn identity(response: &TestResponse) -> [String; 9] {
    IDENTITY.map(|name| {
        let fields: Vec<_> = response.headers.get_all(name).iter().collect();
        assert_eq!(fields.len(), 1, "{name}: {fields:?}");
        fields[0].to_str().expect("plain text").to_owned()
    })
}

/// A refusal says no, and nothing of anybody.
#[track_caller]
fn is_refused(response: &TestResponse, status: u16, code: &str) {
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
        "no refusal sets or clears a cookie"
    );
}
