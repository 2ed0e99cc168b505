//! The lifecycle of signing keys on several replicas, and rotation of the secret that seals them.
//! Valid tokens are accepted all the time.

mod fleet; // replicas that are replaced one by one under load
mod reloading; // keys that a replica hasn't loaded yet
mod revoke; // leaked keys
mod rotate; // rotation of the signing key
mod secrets; // rotation of LATCHKEY_SECRET

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    operator::{CommandOutput, command},
    test_server::TestServer,
};

/// The ID of the key that signed a token.
fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("three parts");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key ID").to_owned()
}

/// The IDs of the keys in the JSON Web Key Set.
async fn published_kids(server: &TestServer) -> Vec<String> {
    let response = server.get("/.well-known/jwks.json").await;
    let keys = response.is(200, "").body["keys"]
        .as_array()
        .expect("keys")
        .clone();
    keys.iter()
        .map(|key| key["kid"].as_str().expect("a key ID").to_owned())
        .collect()
}

/// Runs `latchkey keys …` with the settings of this server.
async fn run_keys_command(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    command(server, &[&["keys"], arguments].concat()).await
}

/// ID and state of each key in the output of `latchkey keys list`.
async fn listed_keys(server: &TestServer) -> Vec<(String, String)> {
    let table = run_keys_command(server, &["list"]).await.well();
    let mut lines = table.lines().map(|line| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(
        lines.next().expect("a header line"),
        ["KID", "STATE", "SINCE", "UNTIL"]
    );
    lines
        .map(|words| (words[0].clone(), words[1].clone()))
        .collect()
}

/// The ID of the only key in this state.
async fn kid_in_state(server: &TestServer, state: &str) -> String {
    let keys = listed_keys(server).await;
    let mut matching = keys.iter().filter(|(_, kid_state)| kid_state == state);
    let kid = matching
        .next()
        .unwrap_or_else(|| panic!("none is {state}: {keys:?}"))
        .0
        .clone();
    assert!(matching.next().is_none(), "only one is {state}: {keys:?}");
    kid
}
