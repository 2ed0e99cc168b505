//! The Postman collection, which `tests/clients/postman.mjs` generates from the OpenAPI document.
//! newman runs its walkthrough.

use std::fs;

use serde_json::Value;

use super::{assert_generated, path};
use crate::{
    contract::{operation, operations},
    test_server::TestServer,
    tools,
};

const COLLECTION: &str = "openapi/latchkey.postman_collection.json";

/// The folder with the executable walkthrough. The other folders contain all operations.
const WALKTHROUGH: &str = "Walkthrough";

fn folders() -> Vec<Value> {
    let text = fs::read_to_string(path(COLLECTION)).expect("the file exists");
    let mut collection: Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(collection["item"].take()).expect("folders")
}

fn requests(folder: &Value) -> &[Value] {
    folder["item"].as_array().expect("requests")
}

#[tokio::test]
async fn postman_collection_is_current() {
    let mut command = tools::node();
    command.args([
        "--input-type=module",
        "--eval",
        include_str!("../../clients/postman.mjs"),
    ]);
    assert_generated(
        COLLECTION,
        &tools::succeeds(command, latchkey::http::document::json()).await,
    );
}

#[test]
fn postman_collection_has_every_operation() {
    let method_and_path = |request: &Value| {
        let parts: Vec<_> = request["url"]["path"]
            .as_array()
            .expect("a path")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let path = parts.join("/").replace(":session_id", ":id");
        format!("{} /{path}", request["method"].as_str().expect("a method"))
    };
    let folders = folders();
    let reference = folders
        .iter()
        .filter(|folder| folder["name"] != WALKTHROUGH);
    let mut found: Vec<_> = reference
        .flat_map(requests)
        .map(|item| method_and_path(&item["request"]))
        .collect();
    let mut expected: Vec<_> = operations(":id")
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// A request must not send the client secret to an operation that doesn't require it.
#[test]
fn postman_requests_use_the_documented_auth() {
    let folders = folders();
    for item in folders
        .iter()
        .filter(|folder| folder["name"] != WALKTHROUGH)
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
        let requirements = operation(&method, &path).expect("an operation")["security"]
            .as_array()
            .expect("security requirements");
        let has = |scheme: &str| {
            requirements
                .iter()
                .any(|requirement| requirement.get(scheme).is_some())
        };
        let auth_type = match (
            has("password"),
            has("clientBasic") && requirements.len() == 1,
        ) {
            (true, _) => None,
            (_, true) => Some("basic"),
            _public => Some("noauth"),
        };
        assert_eq!(
            request["auth"]["type"].as_str(),
            auth_type,
            "{method} {path}"
        );
    }
}

#[test]
fn postman_collection_has_no_secret() {
    let text = fs::read_to_string(path(COLLECTION)).expect("the file exists");
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
        "no prefix of a token"
    );
}

/// `--nocapture` prints the report of newman.
#[tokio::test]
async fn newman_runs_the_walkthrough() {
    let server = TestServer::start().await;
    let mut newman = tools::node();
    newman
        .args(["node_modules/newman/bin/newman.js", "run"])
        .arg(path(COLLECTION));
    newman
        .args(["--folder", WALKTHROUGH, "--color", "off", "--env-var"])
        .arg(format!("baseUrl={}", server.url("")));
    let report = tools::succeeds(newman, String::new()).await;
    println!("{report}");

    let folders = folders();
    let walkthrough = folders
        .iter()
        .find(|folder| folder["name"] == WALKTHROUGH)
        .expect("the folder");
    let executed_count = |row_name: &str| {
        let row = report
            .lines()
            .find(|line| line.contains(row_name))
            .unwrap_or_else(|| panic!("{row_name}: {report}"));
        let numbers: Vec<usize> = row
            .split('│')
            .filter_map(|cell| cell.trim().parse().ok())
            .collect();
        assert_eq!(numbers[1], 0, "failed: {row}");
        numbers[0]
    };
    assert_eq!(executed_count(" requests "), requests(walkthrough).len());
    assert!(
        executed_count(" assertions ") > requests(walkthrough).len(),
        "each request checks its status, and each error its code"
    );
}
