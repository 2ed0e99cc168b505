//! The document as tools see it: what judges it finds nothing, and what reads it finds no
//! surprises.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    contract::{DOCUMENT, operations},
    tools,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every value below this one, with the way to it.
fn every(value: &Value, way: &str, look: &mut impl FnMut(&str, &Value)) {
    look(way, value);
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        _plain => Vec::new(),
    };
    below
        .iter()
        .for_each(|(name, value)| every(value, &format!("{way}/{name}"), look));
}

/// Its recommended rules, warnings included; what is excepted has its reason in
/// `tests/tools/.redocly.lint-ignore.yaml`.
#[tokio::test]
async fn redocly_finds_no_error_and_no_warning() {
    let mut redocly = tools::node();
    redocly.args([
        "node_modules/@redocly/cli/bin/cli.js",
        "lint",
        "--format=json",
        "--config",
    ]);
    redocly.args([
        path("tests/tools/redocly.yaml"),
        path("openapi/latchkey.json"),
    ]);
    // It would ask the world for a newer one of itself.
    redocly
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .env("REDOCLY_TELEMETRY", "off");
    let told: Value =
        serde_json::from_str(&tools::succeeds(redocly, String::new()).await).expect("JSON");
    println!("redocly: {}", told["totals"]);
    let totals = &told["totals"];
    assert_eq!(
        (&totals["errors"], &totals["warnings"]),
        (&0.into(), &0.into()),
        "{told:#}"
    );
    assert_eq!(
        totals["ignored"], 2,
        "what is excepted is still there: {told:#}"
    );
}

#[tokio::test]
async fn openapi_spec_validator_finds_nothing() {
    let mut validator = tools::python("openapi-spec-validator");
    validator
        .args(["--schema", "3.0", "--errors", "all"])
        .arg(path("openapi/latchkey.json"));
    let told = tools::succeeds(validator, String::new()).await;
    assert!(told.trim().ends_with("OK"), "{told}");
}

/// Which generators of clients come from.
#[tokio::test]
async fn openapi_generator_finds_nothing() {
    let mut generator = tools::python("openapi-generator-cli");
    generator
        .args(["validate", "--recommend", "-i"])
        .arg(path("openapi/latchkey.json"));
    let told = tools::succeeds(generator, String::new()).await;
    assert!(told.contains("No validation issues detected."), "{told}");
}

/// An example of a body stands beside its media type, or in its schema. (That they fit, Redocly
/// knows.)
#[test]
fn every_body_has_an_example() {
    let mut seen = 0;
    every(&DOCUMENT["paths"], "", &mut |way, media| {
        let schema = &media["schema"];
        if !way.contains("/content/") || schema.is_null() {
            return;
        }
        let named = schema["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next())
            .unwrap_or_default();
        let told = [
            &media["example"],
            &media["examples"],
            &DOCUMENT["components"]["schemas"][named]["example"],
        ];
        assert!(
            told.iter().any(|example| !example.is_null()),
            "{way} has no example"
        );
        seen += 1;
    });
    assert!(seen > 100, "{seen}");
}

/// Generators make of a union a guess, unless a member tells which it is.
#[test]
fn there_is_no_union_without_a_discriminator() {
    every(&DOCUMENT, "", &mut |way, value| {
        let union = value.get("oneOf").is_some() || value.get("anyOf").is_some();
        assert!(!union || value["discriminator"].is_object(), "{way}");
    });
}

/// Scopes are those that there are. (What is open to anybody is listed in origin_a.rs, and tried.)
#[test]
fn every_operation_says_who_may_call_it() {
    let flows = &DOCUMENT["components"]["securitySchemes"]["clientCredentials"]["flows"];
    let scopes = flows["clientCredentials"]["scopes"]
        .as_object()
        .expect("scopes");
    for (method, path, operation) in operations("") {
        let ways = operation["security"]
            .as_array()
            .unwrap_or_else(|| panic!("{method} {path}"));
        let wanted = ways
            .iter()
            .filter_map(|way| {
                way["password"]
                    .as_array()
                    .or(way["clientCredentials"].as_array())
            })
            .flatten();
        for scope in wanted {
            assert!(
                scopes.contains_key(scope.as_str().expect("text")),
                "{method} {path}: {scope}"
            );
        }
    }
}

/// A summary names it; a description says what a summary cannot.
#[test]
fn everything_is_described() {
    let is_said = |value: &Value| {
        value["description"]
            .as_str()
            .is_some_and(|text| !text.trim().is_empty())
    };
    for (method, path, operation) in operations("") {
        assert!(is_said(operation), "{method} {path}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.for_each(|one| assert!(is_said(one), "{method} {path}: {}", one["name"]));
    }
    for (name, schema) in DOCUMENT["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        let members = schema["properties"].as_object().into_iter().flatten();
        members.for_each(|(member, what)| {
            assert!(is_said(what) || what["$ref"].is_string(), "{name}.{member}")
        });
    }
    let tags = DOCUMENT["tags"].as_array().expect("groups");
    assert!(tags.iter().all(is_said), "{tags:?}");
}

/// A page that lists them shows first what a newcomer does first.
#[test]
fn groups_are_in_reading_order() {
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .expect("a list")
            .iter()
            .map(|tag| tag["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let groups = names(&DOCUMENT["tags"]);
    assert_eq!(
        &groups[..4],
        [
            "Authentication",
            "Current user",
            "Sessions",
            "Personal access tokens"
        ]
    );
    assert_eq!(groups.last().map(String::as_str), Some("Health"));
    for (_, _, operation) in operations("") {
        let group = operation["tags"][0].as_str().expect("a group");
        assert!(
            groups.iter().any(|known| known == group),
            "{group} is no group"
        );
    }
}
