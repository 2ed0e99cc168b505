//! The collection for Postman, which `tests/clients/postman.mjs` makes from the document, and
//! newman, which runs it.

use std::fs;

use serde_json::Value;

use super::{path, same};
use crate::{
    contract::{operation, operations},
    test_server::TestServer,
    tools,
};

const COLLECTION: &str = "openapi/latchkey.postman_collection.json";

/// Its folder that is run; all others are the operations.
const LIFE: &str = "Walkthrough";

fn folders() -> Vec<Value> {
    let text = fs::read_to_string(path(COLLECTION)).expect("it is there");
    let mut collection: Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(collection["item"].take()).expect("folders")
}

fn requests(folder: &Value) -> &[Value] {
    folder["item"].as_array().expect("requests")
}

#[tokio::test]
async fn the_collection_is_the_one_that_is_checked_in() {
    let mut command = tools::node();
    command.args([
        "--input-type=module",
        "--eval",
        include_str!("../../clients/postman.mjs"),
    ]);
    same(
        COLLECTION,
        &tools::succeeds(command, latchkey::http::openapi::document::json()).await,
    );
}

#[test]
fn the_collection_has_every_operation() {
    let written = |request: &Value| {
        let parts: Vec<_> = request["url"]["path"]
            .as_array()
            .expect("a path")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        format!(
            "{} /{}",
            request["method"].as_str().expect("a method"),
            parts.join("/")
        )
    };
    let folders = folders();
    let reference = folders.iter().filter(|folder| folder["name"] != LIFE);
    let mut found: Vec<_> = reference
        .flat_map(requests)
        .map(|item| written(&item["request"]))
        .collect();
    let mut known: Vec<_> = operations(":id")
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

/// Nobody sends the secret of a client to whom it is not for.
#[test]
fn each_request_proves_what_the_document_wants() {
    let folders = folders();
    for item in folders
        .iter()
        .filter(|folder| folder["name"] != LIFE)
        .flat_map(requests)
    {
        let request = &item["request"];
        let path: Vec<_> = request["url"]["path"]
            .as_array()
            .expect("a path")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let path = format!("/{}", path.join("/")).replace(":id", "{id}");
        let method = request["method"]
            .as_str()
            .expect("a method")
            .parse()
            .expect("a method");
        let ways = operation(&method, &path).expect("an operation")["security"]
            .as_array()
            .expect("ways");
        let has = |scheme: &str| ways.iter().any(|way| way.get(scheme).is_some());
        let wanted = match (has("password"), has("clientBasic") && ways.len() == 1) {
            (true, _) => None,
            (_, true) => Some("basic"),
            _anybody => Some("noauth"),
        };
        assert_eq!(request["auth"]["type"].as_str(), wanted, "{method} {path}");
    }
}

#[test]
fn the_collection_has_no_secret() {
    let text = fs::read_to_string(path(COLLECTION)).expect("it is there");
    let collection: Value = serde_json::from_str(&text).expect("JSON");
    let variables = collection["variable"].as_array().expect("variables");
    assert!(
        variables
            .iter()
            .all(|variable| variable["value"] == "" || variable["key"] == "baseUrl"),
        "{variables:?}"
    );
    assert!(
        ["eyJ", "lkp_", "lkr_", "lks_"]
            .iter()
            .all(|token| !text.contains(token)),
        "what begins as tokens do"
    );
}

/// What newman says of it, as `--nocapture` shows it.
#[tokio::test]
async fn newman_goes_through_a_whole_life() {
    let server = TestServer::start().await;
    let mut newman = tools::node();
    newman
        .args(["node_modules/newman/bin/newman.js", "run"])
        .arg(path(COLLECTION));
    newman
        .args(["--folder", LIFE, "--color", "off", "--env-var"])
        .arg(format!("baseUrl={}", server.url("")));
    let told = tools::succeeds(newman, String::new()).await;
    println!("{told}");

    let folders = folders();
    let life = folders
        .iter()
        .find(|folder| folder["name"] == LIFE)
        .expect("the folder");
    let executed = |what: &str| {
        let row = told
            .lines()
            .find(|line| line.contains(what))
            .unwrap_or_else(|| panic!("{what}: {told}"));
        let numbers: Vec<usize> = row
            .split('│')
            .filter_map(|cell| cell.trim().parse().ok())
            .collect();
        assert_eq!(numbers[1], 0, "failed: {row}");
        numbers[0]
    };
    assert_eq!(executed(" requests "), requests(life).len());
    assert!(
        executed(" assertions ") > requests(life).len(),
        "each has its status, and refusals their code"
    );
}
