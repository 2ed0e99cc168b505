//! Clients that nobody here wrote complete their flows: Authlib with joserfc (Python), and
//! oauth4webapi (JavaScript), which refuses any deviation. The issuer is where the gateway listens,
//! so that everything else is discovered.

use std::process::Command;

use serde_json::{Value, json};

use super::{Client, Fixture};
use crate::{
    browser::open,
    loopback::own_address,
    test_server::{TestServer, until},
    tools,
};

/// What each of them does.
const STEPS: [&str; 8] = [
    "metadata",
    "refresh",
    "no growth",
    "client credentials",
    "wrong secret",
    "introspection",
    "keys",
    "revocation",
];

/// A gateway whose issuer is its address.
async fn at_home() -> TestServer {
    let address = own_address().to_string();
    TestServer::with(&[
        ("LATCHKEY_LISTEN", &address),
        ("LATCHKEY_ISSUER", &format!("http://{address}")),
    ])
    .await
}

/// What a client is given, as JSON.
async fn fixture() -> (Fixture, Value) {
    let server = at_home().await;
    let (admin, john) = (server.admin("root").await, server.sign_up("john").await);
    let client = Client::register(&server, &admin, "items:read").await;
    let cookie = open(&server, "john").await;
    let fixture = Fixture {
        server,
        admin,
        john,
        client,
    };
    let given = json!({
        "issuer": fixture.server.setting("LATCHKEY_ISSUER"),
        "audience": fixture.server.setting("LATCHKEY_ISSUER"),
        "sub": fixture.john.claims()["sub"],
        "refresh_token": fixture.john.refresh_token,
        "personal_token": fixture.personal("items:read").await.1,
        "cookie": cookie,
        "client_id": fixture.client.id,
        "client_secret": fixture.client.secret,
    });
    (fixture, given)
}

/// Runs it with the scene, which holds secrets, on its standard input; every step must have been
/// completed.
async fn completes(command: Command) {
    let (fixture, given) = fixture().await;
    let told = tools::succeeds(command, given.to_string()).await;
    assert_eq!(told.lines().collect::<Vec<_>>(), STEPS);
    // What it gave back is over, for us as well.
    let over = || async {
        fixture
            .server
            .refresh(&fixture.john.refresh_token)
            .await
            .status
            == 401
    };
    until("the session is over", over).await;
}

#[tokio::test]
async fn authlib_completes_its_flows() {
    let mut command = tools::python("python");
    command
        .arg("-c")
        .arg(include_str!("../../clients/with_authlib.py"));
    completes(command).await;
}

#[tokio::test]
async fn oauth4webapi_completes_its_flows() {
    let mut command = tools::node();
    command.args([
        "--input-type=module",
        "--eval",
        include_str!("../../clients/with_oauth4webapi.mjs"),
    ]);
    completes(command).await;
}
