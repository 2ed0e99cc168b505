//! The life of a signing key on several replicas, and of the secret that seals it. Nobody who holds
//! a good token notices.

mod fleet; // replicas that are restarted one by one, and people who go on meanwhile
mod reloading; // a key that a replica has not seen yet
mod revoke; // a key that somebody else may have
mod rotate; // the next key
mod secrets; // another LATCHKEY_SECRET

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    operator::{CommandOutput, command},
    test_server::TestServer,
};

/// The id of the key that signed a token.
fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("three parts");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key").to_owned()
}

/// The ids of the keys that others may use.
async fn published(server: &TestServer) -> Vec<String> {
    let response = server.get("/.well-known/jwks.json").await;
    let keys = response.is(200, "").body["keys"]
        .as_array()
        .expect("keys")
        .clone();
    keys.iter()
        .map(|key| key["kid"].as_str().expect("an id").to_owned())
        .collect()
}

/// `latchkey keys …` with the settings of this gateway.
async fn keys(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    command(server, &[&["keys"], arguments].concat()).await
}

/// The keys as they are listed: id and state.
async fn listed(server: &TestServer) -> Vec<(String, String)> {
    let table = keys(server, &["list"]).await.well();
    let mut lines = table.lines().map(|line| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(
        lines.next().expect("a head"),
        ["KID", "STATE", "SINCE", "UNTIL"]
    );
    lines
        .map(|words| (words[0].clone(), words[1].clone()))
        .collect()
}

/// The key in this state.
async fn key_that_is(server: &TestServer, state: &str) -> String {
    let all = listed(server).await;
    let mut found = all.iter().filter(|(_, known)| known == state);
    let kid = found
        .next()
        .unwrap_or_else(|| panic!("none is {state}: {all:?}"))
        .0
        .clone();
    assert!(found.next().is_none(), "only one is {state}: {all:?}");
    kid
}
