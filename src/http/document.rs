//! The document: generated from the code, mended where the framework errs, checked in under `openapi/`.

mod clients;
mod pages;
mod scopes;

use std::collections::HashMap;

use poem::{Route, RouteMethod, http::Method};
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::{Map, Value, json};

use super::{
    accounts::AccountsApi,
    audit::AuditApi,
    browser::BrowserApi,
    clients::ClientsApi,
    devices::DevicesApi,
    feed::FeedApi,
    forward_auth::{self, ForwardAuthApi},
    health::HealthApi,
    items::ItemsApi,
    oauth::OAuthApi,
    personal_tokens::PersonalTokensApi,
    problem, rate_limit,
    tokens::TokensApi,
    users::UsersApi,
    well_known::WellKnownApi,
};
use crate::error::Code;

/// Declares the faces whose operations there are.
macro_rules! faces {
    ($($face:ident),* $(,)?) => {
        /// All operations.
        pub type Api = ($($face,)*);

        const API: Api = ($($face,)*);
    };
}

faces!(
    TokensApi,
    BrowserApi,
    AccountsApi,
    PersonalTokensApi,
    DevicesApi,
    ItemsApi,
    OAuthApi,
    UsersApi,
    ClientsApi,
    AuditApi,
    FeedApi,
    WellKnownApi,
    ForwardAuthApi,
    HealthApi,
);

/// The operations beside other routes. The framework's own service reads query and cookies of every request once more,
/// for extractors that nothing here uses.
pub fn add_operations(routes: Route) -> Route {
    let mut operations = HashMap::new();
    API.add_routes(&mut operations);
    // The framework knows nine methods, and a proxy may ask with any.
    let check = operations.remove(forward_auth::PATH).and_then(|mut methods| methods.remove(&Method::GET));
    let routes = routes.at(forward_auth::PATH, check.expect("it is an operation"));
    operations.into_iter().fold(routes, |routes, (path, methods)| {
        let by_method = |known: RouteMethod, (method, operation)| known.method(method, operation);
        routes.at(path, methods.into_iter().fold(RouteMethod::new(), by_method))
    })
}

/// The operations as the framework documents them.
pub fn service() -> OpenApiService<Api, ()> {
    OpenApiService::new(API, "Latchkey", crate::VERSION)
        .description(include_str!("pages/document.md"))
        .license("MIT OR Apache-2.0")
}

/// The document as it is served and checked in.
pub fn json() -> String {
    let document = serde_json::to_string_pretty(&value()).expect("a JSON value can be written");
    document + "\n"
}

/// The document.
pub fn value() -> Value {
    let mut document: Value = serde_json::from_str(&service().spec()).expect("the framework writes JSON");
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{ "url": "/", "description": "This gateway" }]);
    pages::mend(&mut document);
    operations(&mut document, scopes::mend);
    operations(&mut document, clients::mend);
    clients::add_scheme(&mut document);
    operations(&mut document, mend);
    let schemas = document["components"]["schemas"].as_object_mut().expect("there are schemas");
    close(schemas);
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.slug()).collect();
    schemas["Problem"]["properties"]["code"]["enum"] = json!(codes);
    // One name, not two.
    for login in ["LoginBody", "LoginForm"] {
        schemas[login]["example"] = json!({ "username": "john", "password": "secret123" });
    }
    in_reading_order(&mut document);
    document
}

/// The framework sorts groups by name.
fn in_reading_order(document: &mut Value) {
    const ORDER: [&str; 9] =
        ["Signing in", "Account", "Recovery", "Items", "OAuth", "Users", "Clients", "Gateway", "Health"];
    let tags = document["tags"].as_array_mut().expect("there are groups");
    tags.sort_by_key(|tag| ORDER.iter().position(|name| tag["name"] == *name));
}

/// Every path with its methods, for `Allow`.
pub fn methods() -> Vec<(String, Vec<String>)> {
    let document = value();
    let paths = document["paths"].as_object().expect("there are paths");
    let methods = |operations: &Value| {
        operations.as_object().map(|map| map.keys().map(|method| method.to_uppercase()).collect()).unwrap_or_default()
    };
    paths.iter().map(|(path, operations)| (path.clone(), methods(operations))).collect()
}

fn operations(document: &mut Value, mut change: impl FnMut(&mut Value)) {
    let paths = document["paths"].as_object_mut().expect("there are paths");
    paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(&mut change);
}

fn mend(operation: &mut Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        without_charset(content);
    }
    let is_check = operation["operationId"] == "verify";
    let responses = operation["responses"].as_object_mut().expect("there are responses");
    let is_throttled = responses.contains_key("429");
    for (status, response) in responses {
        let codes = codes(response);
        if let Some(content) = response.get_mut("content") {
            without_charset(content);
            examples(content, codes);
        }
        headers(response, status);
        if is_throttled {
            rate_limit::document(response);
        }
        if is_check {
            forward_auth::document(response);
        }
    }
}

/// `application/json; charset=utf-8` is no media type of its own: generators look for `application/json`.
fn without_charset(content: &mut Value) {
    let old = std::mem::take(content.as_object_mut().expect("content is a map"));
    let bare = |name: String| name.split(';').next().unwrap_or_default().to_owned();
    *content = Value::Object(old.into_iter().map(|(name, media)| (bare(name), media)).collect());
}

/// The codes that a response's description lists.
fn codes(response: &Value) -> Vec<Code> {
    let description = response["description"].as_str().unwrap_or_default();
    Code::ALL.iter().copied().filter(|code| description.contains(&format!("`{}`", code.slug()))).collect()
}

fn examples(content: &mut Value, codes: Vec<Code>) {
    if let Some(media) = content.get_mut(problem::MEDIA_TYPE) {
        let example = |code: Code| (code.slug().to_owned(), json!({ "value": problem::example(code) }));
        media["examples"] = Value::Object(codes.into_iter().map(example).collect());
    }
}

/// What the edge adds by status.
fn headers(response: &mut Value, status: &str) {
    let (name, description) = match status {
        "401" => ("WWW-Authenticate", "The challenge (RFC 6750 section 3)."),
        "429" | "503" => ("Retry-After", "Seconds to wait."),
        _other => return,
    };
    response["headers"][name] = json!({ "description": description, "schema": { "type": "string" } });
}

/// Bodies of requests refuse unknown members; answers always have all of theirs, some of them `null`.
fn close(schemas: &mut Map<String, Value>) {
    for (name, schema) in schemas {
        if OPEN.contains(&name.as_str()) {
            continue;
        }
        if ["Body", "Form", "Patch"].iter().any(|kind| name.ends_with(kind)) {
            schema["additionalProperties"] = json!(false);
        } else if !SPARSE.contains(&name.as_str()) {
            always_there(schema);
        }
    }
}

/// Forms of which a standard wants the rest ignored (RFC 6749 section 3.2).
const OPEN: [&str; 3] = ["TokenForm", "RevocationForm", "IntrospectionForm"];

/// Answers that leave out what they have nothing to say of, because a standard wants it so (RFC 6749, RFC 7662).
const SPARSE: [&str; 2] = ["IssuedToken", "Introspection"];

fn always_there(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties.iter_mut() {
        // The one member that is left out where there is nothing to say.
        if !required.contains(&json!(name)) && name != "errors" {
            property["nullable"] = json!(true);
        }
    }
    let names: Vec<_> = properties.keys().filter(|name| *name != "errors").map(|name| json!(name)).collect();
    schema["required"] = Value::Array(names);
}
