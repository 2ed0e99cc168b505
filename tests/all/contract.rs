//! Every answer that any test sees must be in the document: its status, its media type, the code of
//! its problem.

use std::sync::LazyLock;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::{program, test_server::TestResponse};

/// The document of the binary under test.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let output = program::run::<&str>(&["openapi"], [], "");
    serde_json::from_slice(&output.stdout).expect("the document is JSON")
});

/// A request with the body that the document gives as an example.
pub fn with_example(request: RequestBuilder, operation: &Value) -> RequestBuilder {
    match (json_body(operation), form_body(operation)) {
        (Some(schema), _) => request.json(&schema["example"]),
        (None, Some(schema)) => request.form(&schema["example"]),
        (None, None) => request,
    }
}

/// Compares an answer with the document. What is no operation (pages, unknown paths, other methods)
/// has nothing to compare.
pub fn check(method: &Method, path: &str, response: &TestResponse) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let documented = &operation["responses"][response.status.to_string()];
    let what = format!(
        "{method} {path} → {} {}",
        response.status,
        response.string()
    );
    assert!(!documented.is_null(), "not documented: {what}");
    for name in ["RateLimit-Policy", "RateLimit", "Retry-After"] {
        let told = response.headers.contains_key(name);
        assert!(
            !told || documented["headers"][name].is_object(),
            "{name} is not documented: {what}"
        );
    }
    if response.bytes.is_empty() {
        return;
    }
    let media_type = response
        .header("content-type")
        .split(';')
        .next()
        .unwrap_or_default();
    let content = &documented["content"][media_type];
    assert!(!content.is_null(), "{media_type} is not documented: {what}");
    if media_type == "application/problem+json" {
        let code = format!("`{}`", response.code());
        assert!(
            documented["description"]
                .as_str()
                .is_some_and(|codes| codes.contains(&code)),
            "code not documented: {what}"
        );
        assert_eq!(
            response.text("request_id"),
            response.header("x-request-id"),
            "{what}"
        );
    }
    matches(&content["schema"], &response.body, &what);
}

/// Compares an event of a stream with the document.
pub fn check_event(method: &Method, path: &str, event: &str, data: &Value) {
    let operation = operation(method, path).expect("an operation");
    let schema = &operation["responses"]["200"]["x-events"][event];
    matches(
        schema,
        data,
        &format!("an event of {method} {path}: {event} {data}"),
    );
}

/// The operation of a method and a path, if there is one.
pub fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("there are paths");
    let path = path
        .strip_suffix('/')
        .filter(|bare| !bare.is_empty())
        .unwrap_or(path);
    let item = paths.get(path).or_else(|| {
        paths
            .iter()
            .find(|(template, _)| is_like(template, path))
            .map(|(_, item)| item)
    })?;
    item.get(method.as_str().to_lowercase())
}

fn is_like(template: &str, path: &str) -> bool {
    let same = |(known, given): (&str, &str)| known.starts_with('{') || known == given;
    template.split('/').count() == path.split('/').count()
        && template.split('/').zip(path.split('/')).all(same)
}

/// A small reading of JSON schema: members that are required, unknown, null or of another type.
fn matches(schema: &Value, value: &Value, what: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return matches(
            &DOCUMENT["components"]["schemas"][name.rsplit('/').next().expect("a name")],
            value,
            what,
        );
    }
    if let Some(first) = schema["allOf"].get(0) {
        return matches(first, value, what);
    }
    if value.is_null() {
        assert_eq!(schema["nullable"], true, "null is not documented: {what}");
        return;
    }
    match schema["type"].as_str() {
        Some("object") => members(schema, value, what),
        Some("array") => value
            .as_array()
            .expect(what)
            .iter()
            .for_each(|item| matches(&schema["items"], item, what)),
        Some("string") => {
            assert!(value.is_string(), "{value} is no string: {what}");
            let list = schema["enum"].as_array();
            assert!(
                list.is_none_or(|list| list.contains(value)),
                "{value} is not in the list: {what}"
            );
        }
        Some("integer") => assert!(value.is_i64(), "{value} is no integer: {what}"),
        Some("boolean") => assert!(value.is_boolean(), "{value} is no boolean: {what}"),
        other => panic!("schema of type {other:?}: {what}"),
    }
}

fn members(schema: &Value, value: &Value, what: &str) {
    let properties = schema["properties"].as_object().expect(what);
    let object = value.as_object().expect(what);
    for required in schema["required"].as_array().expect(what) {
        assert!(
            object.contains_key(required.as_str().expect(what)),
            "{required} is missing: {what}"
        );
    }
    for (name, member) in object {
        let property = properties
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not documented: {what}"));
        matches(property, member, what);
    }
}

/// Every operation of the document, with `{id}` filled in.
pub fn operations(id: &str) -> Vec<(Method, String, &'static Value)> {
    let paths = DOCUMENT["paths"]
        .as_object()
        .expect("there are paths")
        .iter();
    let of_path = |(path, item): (&String, &'static Value)| {
        let path = path.replace("{id}", id);
        let method = |name: &str| name.to_uppercase().parse().expect("a method");
        item.as_object()
            .expect("operations")
            .iter()
            .map(move |(name, operation)| (method(name), path.clone(), operation))
    };
    paths.flat_map(of_path).collect()
}

/// Whether the document says that anybody may call it, whoever sends nothing included.
pub fn is_open(operation: &Value) -> bool {
    let ways = operation["security"]
        .as_array()
        .expect("it says who may call it");
    ways.is_empty()
        || ways
            .iter()
            .any(|way| way.as_object().is_some_and(|way| way.is_empty()))
}

/// The schema of an operation's JSON body, if it takes one.
pub fn json_body(operation: &Value) -> Option<&'static Value> {
    body(operation, "application/json")
}

/// The schema of an operation's form, if it takes one.
pub fn form_body(operation: &Value) -> Option<&'static Value> {
    body(operation, "application/x-www-form-urlencoded")
}

fn body(operation: &Value, media_type: &str) -> Option<&'static Value> {
    let name = operation["requestBody"]["content"][media_type]["schema"]["$ref"].as_str()?;
    Some(&DOCUMENT["components"]["schemas"][name.rsplit('/').next().expect("a name")])
}
