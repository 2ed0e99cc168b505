//! The OpenAPI document: linters report nothing, and it follows rules that generators rely on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    contract::{DOCUMENT, operations},
    tools,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Calls `visit` with this value and every value below it, each with its JSON pointer.
fn visit_all(value: &Value, pointer: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(pointer, value);
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        _scalar => Vec::new(),
    };
    children
        .iter()
        .for_each(|(name, value)| visit_all(value, &format!("{pointer}/{name}"), visit));
}

/// Uses the recommended rules, including warnings. The exceptions and their reasons are in
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
    // Otherwise Redocly checks for updates over the network.
    redocly
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .env("REDOCLY_TELEMETRY", "off");
    let report: Value =
        serde_json::from_str(&tools::succeeds(redocly, String::new()).await).expect("JSON");
    println!("redocly: {}", report["totals"]);
    let totals = &report["totals"];
    assert_eq!(
        (&totals["errors"], &totals["warnings"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
    assert_eq!(
        totals["ignored"], 2,
        "every exception is still needed: {report:#}"
    );
}

#[tokio::test]
async fn openapi_spec_validator_finds_nothing() {
    let mut validator = tools::python("openapi-spec-validator");
    validator
        .args(["--schema", "3.0", "--errors", "all"])
        .arg(path("openapi/latchkey.json"));
    let output = tools::succeeds(validator, String::new()).await;
    assert!(output.trim().ends_with("OK"), "{output}");
}

/// The validator of the OpenAPI Generator project.
#[tokio::test]
async fn openapi_generator_finds_nothing() {
    let mut generator = tools::python("openapi-generator-cli");
    generator
        .args(["validate", "--recommend", "-i"])
        .arg(path("openapi/latchkey.json"));
    let output = tools::succeeds(generator, String::new()).await;
    assert!(
        output.contains("No validation issues detected."),
        "{output}"
    );
}

/// A body has an example in its media type or in its schema. Redocly checks that examples match
/// their schemas.
#[test]
fn every_body_has_an_example() {
    let mut bodies = 0;
    visit_all(&DOCUMENT["paths"], "", &mut |pointer, media| {
        let schema = &media["schema"];
        if !pointer.contains("/content/") || schema.is_null() {
            return;
        }
        let schema_name = schema["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next())
            .unwrap_or_default();
        let examples = [
            &media["example"],
            &media["examples"],
            &DOCUMENT["components"]["schemas"][schema_name]["example"],
        ];
        assert!(
            examples.iter().any(|example| !example.is_null()),
            "{pointer} has no example"
        );
        bodies += 1;
    });
    assert!(bodies > 100, "{bodies}");
}

/// Without a discriminator, generated clients must guess the variant of a union.
#[test]
fn every_union_has_a_discriminator() {
    visit_all(&DOCUMENT, "", &mut |pointer, value| {
        let is_union = value.get("oneOf").is_some() || value.get("anyOf").is_some();
        assert!(!is_union || value["discriminator"].is_object(), "{pointer}");
    });
}

/// Every scope is declared. `migrating_from_fastapi_oauth2.rs` lists and tests public operations.
#[test]
fn every_operation_declares_known_scopes() {
    let flows = &DOCUMENT["components"]["securitySchemes"]["clientCredentials"]["flows"];
    let scopes = flows["clientCredentials"]["scopes"]
        .as_object()
        .expect("scopes");
    for (method, path, operation) in operations("") {
        let requirements = operation["security"]
            .as_array()
            .unwrap_or_else(|| panic!("{method} {path}"));
        let required_scopes = requirements
            .iter()
            .filter_map(|requirement| {
                requirement["password"]
                    .as_array()
                    .or(requirement["clientCredentials"].as_array())
            })
            .flatten();
        for scope in required_scopes {
            assert!(
                scopes.contains_key(scope.as_str().expect("text")),
                "{method} {path}: {scope}"
            );
        }
    }
}

#[test]
fn operations_parameters_and_fields_are_described() {
    let has_description = |value: &Value| {
        value["description"]
            .as_str()
            .is_some_and(|text| !text.trim().is_empty())
    };
    for (method, path, operation) in operations("") {
        assert!(has_description(operation), "{method} {path}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.for_each(|parameter| {
            assert!(
                has_description(parameter),
                "{method} {path}: {}",
                parameter["name"]
            )
        });
    }
    for (name, schema) in DOCUMENT["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        let fields = schema["properties"].as_object().into_iter().flatten();
        fields.for_each(|(field, property)| {
            assert!(
                has_description(property) || property["$ref"].is_string(),
                "{name}.{field}"
            )
        });
    }
    let tags = DOCUMENT["tags"].as_array().expect("tags");
    assert!(tags.iter().all(has_description), "{tags:?}");
}

/// Documentation pages list the tags in this order, so the first tasks of a new user come first.
#[test]
fn tags_are_in_reading_order() {
    let tag_names = |tags: &Value| -> Vec<String> {
        tags.as_array()
            .expect("a list")
            .iter()
            .map(|tag| tag["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let tags = tag_names(&DOCUMENT["tags"]);
    assert_eq!(
        &tags[..4],
        [
            "Authentication",
            "Current user",
            "Sessions",
            "Personal access tokens"
        ]
    );
    assert_eq!(tags.last().map(String::as_str), Some("Health"));
    for (_, _, operation) in operations("") {
        let tag = operation["tags"][0].as_str().expect("a tag");
        assert!(
            tags.iter().any(|declared| declared == tag),
            "{tag} is not declared"
        );
    }
}
