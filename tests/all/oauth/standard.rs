//! Third-party clients complete their flows: Authlib with joserfc (Python), and oauth4webapi
//! (JavaScript), which rejects any deviation from the standards.
//!
//! The issuer is the address of the server, so that the clients discover all endpoints.

use std::process::Command;

use serde_json::{Value, json};

use super::{Client, Fixture};
use crate::{
    browser::open,
    loopback::own_address,
    test_server::{TestServer, wait_until},
    tools,
};

/// The steps that each client prints.
const STEPS: [&str; 8] = [
    "metadata",
    "refresh",
    "wider scope",
    "client credentials",
    "wrong secret",
    "introspection",
    "keys",
    "revocation",
];

/// Starts a server whose issuer is its address.
async fn start_server() -> TestServer {
    let address = own_address().to_string();
    TestServer::with(&[
        ("LATCHKEY_LISTEN", &address),
        ("LATCHKEY_ISSUER", &format!("http://{address}")),
    ])
    .await
}

/// Creates a fixture and the input of a client.
async fn create_fixture() -> (Fixture, Value) {
    let server = start_server().await;
    let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
    let client = Client::register(&server, &admin, "items:read").await;
    let cookie = open(&server, "john").await;
    let fixture = Fixture {
        server,
        admin,
        session: user,
        client,
    };
    let input = json!({
        "issuer": fixture.server.setting("LATCHKEY_ISSUER"),
        "audience": fixture.server.setting("LATCHKEY_ISSUER"),
        "sub": fixture.session.claims()["sub"],
        "refresh_token": fixture.session.refresh_token,
        "personal_token": fixture.create_personal_token("items:read").await.1,
        "cookie": cookie,
        "client_id": fixture.client.id,
        "client_secret": fixture.client.secret,
    });
    (fixture, input)
}

/// Runs a client and asserts that it completes all steps. The input contains secrets, so it is
/// passed on stdin.
async fn run_client(command: Command) {
    let (fixture, input) = create_fixture().await;
    let output = tools::succeeds(command, input.to_string()).await;
    assert_eq!(output.lines().collect::<Vec<_>>(), STEPS);
    // The client revoked the refresh token.
    let is_revoked = || async {
        fixture
            .server
            .refresh(&fixture.session.refresh_token)
            .await
            .status
            == 401
    };
    wait_until("the session is revoked", is_revoked).await;
}

#[tokio::test]
async fn authlib_client_completes_all_steps() {
    let mut command = tools::python("python");
    command
        .arg("-c")
        .arg(include_str!("../../clients/with_authlib.py"));
    run_client(command).await;
}

#[tokio::test]
async fn oauth4webapi_client_completes_all_steps() {
    let mut command = tools::node();
    command.args([
        "--input-type=module",
        "--eval",
        include_str!("../../clients/with_oauth4webapi.mjs"),
    ]);
    run_client(command).await;
}
