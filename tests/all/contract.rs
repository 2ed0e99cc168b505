//! Compares every response that a test receives with the OpenAPI document: status, headers, media
//! type, error code, and body.

use std::sync::LazyLock;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::{program, test_server::TestResponse};

/// The OpenAPI document of the binary under test.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let output = program::run::<&str>(&["openapi"], [], "");
    serde_json::from_slice(&output.stdout).expect("valid JSON")
});

/// Adds the example body of an operation to a request.
pub fn with_example(request: RequestBuilder, operation: &Value) -> RequestBuilder {
    match (json_body(operation), form_body(operation)) {
        (Some(schema), _) => request.json(&schema["example"]),
        (None, Some(schema)) => request.form(&schema["example"]),
        (None, None) => request,
    }
}

/// Compares a response with the document. Requests without an operation, such as pages, unknown
/// paths, and other methods, are not checked.
pub fn check(method: &Method, path: &str, response: &TestResponse) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let documented = &operation["responses"][response.status.to_string()];
    let context = format!(
        "{method} {path} → {} {}",
        response.status,
        response.string()
    );
    assert!(!documented.is_null(), "not documented: {context}");
    for name in ["RateLimit-Policy", "RateLimit", "Retry-After"] {
        let is_sent = response.headers.contains_key(name);
        assert!(
            !is_sent || documented["headers"][name].is_object(),
            "{name} is not documented: {context}"
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
    assert!(
        !content.is_null(),
        "{media_type} is not documented: {context}"
    );
    let is_problem = media_type == "application/problem+json";
    let oauth_error = response.body["error"].as_str().map(str::to_owned);
    if let Some(code) = is_problem.then(|| response.code()).or(oauth_error) {
        assert!(
            documented["description"]
                .as_str()
                .is_some_and(|codes| codes.contains(&format!("`{code}`"))),
            "code not documented: {context}"
        );
    }
    if is_problem {
        assert_eq!(
            response.text("request_id"),
            response.header("x-request-id"),
            "{context}"
        );
    }
    validate(&content["schema"], &response.body, &context);
}

/// Compares the data of a stream event with the document.
pub fn check_event(method: &Method, path: &str, event: &str, data: &Value) {
    let operation = operation(method, path).expect("an operation");
    let schema = &operation["responses"]["200"]["x-events"][event];
    validate(
        schema,
        data,
        &format!("an event of {method} {path}: {event} {data}"),
    );
}

/// Returns the operation of a method and a path.
pub fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let path = path
        .strip_suffix('/')
        .filter(|bare| !bare.is_empty())
        .unwrap_or(path);
    let item = paths.get(path).or_else(|| {
        paths
            .iter()
            .find(|(template, _)| is_match(template, path))
            .map(|(_, item)| item)
    })?;
    item.get(method.as_str().to_lowercase())
}

fn is_match(template: &str, path: &str) -> bool {
    let is_equal =
        |(expected, segment): (&str, &str)| expected.starts_with('{') || expected == segment;
    template.split('/').count() == path.split('/').count()
        && template.split('/').zip(path.split('/')).all(is_equal)
}

/// Validates required, unknown, and null fields, types, and enumerations of a JSON schema.
fn validate(schema: &Value, value: &Value, context: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return validate(
            &DOCUMENT["components"]["schemas"][name.rsplit('/').next().expect("a name")],
            value,
            context,
        );
    }
    if let Some(first) = schema["allOf"].get(0) {
        return validate(first, value, context);
    }
    if value.is_null() {
        assert_eq!(
            schema["nullable"], true,
            "null is not documented: {context}"
        );
        return;
    }
    match schema["type"].as_str() {
        Some("object") => validate_object(schema, value, context),
        Some("array") => value
            .as_array()
            .expect(context)
            .iter()
            .for_each(|item| validate(&schema["items"], item, context)),
        Some("string") => {
            assert!(value.is_string(), "{value} is not a string: {context}");
            let list = schema["enum"].as_array();
            assert!(
                list.is_none_or(|list| list.contains(value)),
                "{value} is not in the list: {context}"
            );
        }
        Some("integer") => assert!(value.is_i64(), "{value} is not an integer: {context}"),
        Some("boolean") => assert!(value.is_boolean(), "{value} is not a boolean: {context}"),
        other => panic!("unknown type {other:?}: {context}"),
    }
}

fn validate_object(schema: &Value, value: &Value, context: &str) {
    let properties = schema["properties"].as_object().expect(context);
    let object = value.as_object().expect(context);
    for required in schema["required"].as_array().expect(context) {
        assert!(
            object.contains_key(required.as_str().expect(context)),
            "{required} is missing: {context}"
        );
    }
    for (name, field) in object {
        let property = properties
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not documented: {context}"));
        validate(property, field, context);
    }
}

/// The name of a group in paths.
pub const GROUP: &str = "finance";

/// Returns every operation of the document, with `{id}` and `{session_id}` replaced by this ID, and
/// `{name}` by the name of a group.
pub fn operations(id: &str) -> Vec<(Method, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths").iter();
    // A placeholder of the ID is also one of the name.
    let name = match id {
        "{id}" | ":id" => id.replace("id", "name"),
        _value => GROUP.to_owned(),
    };
    let list_methods = |(path, item): (&String, &'static Value)| {
        let path = path
            .replace("{id}", id)
            .replace("{session_id}", id)
            .replace("{name}", &name);
        let method = |name: &str| name.to_uppercase().parse().expect("a method");
        item.as_object()
            .expect("operations")
            .iter()
            .map(move |(name, operation)| (method(name), path.clone(), operation))
    };
    paths.flat_map(list_methods).collect()
}

/// Returns whether an operation accepts requests without credentials.
pub fn is_open(operation: &Value) -> bool {
    let requirements = operation["security"]
        .as_array()
        .expect("a list of security requirements");
    requirements.is_empty()
        || requirements.iter().any(|requirement| {
            requirement
                .as_object()
                .is_some_and(|schemes| schemes.is_empty())
        })
}

/// Returns the schema of the JSON body of an operation.
pub fn json_body(operation: &Value) -> Option<&'static Value> {
    body_schema(operation, "application/json")
}

/// Returns the schema of the form of an operation.
pub fn form_body(operation: &Value) -> Option<&'static Value> {
    body_schema(operation, "application/x-www-form-urlencoded")
}

fn body_schema(operation: &Value, media_type: &str) -> Option<&'static Value> {
    let name = operation["requestBody"]["content"][media_type]["schema"]["$ref"].as_str()?;
    Some(&DOCUMENT["components"]["schemas"][name.rsplit('/').next().expect("a name")])
}
