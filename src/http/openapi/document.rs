//! The OpenAPI document: generated from the code, patched where the framework differs, checked in
//! under `openapi/`.

mod clients;
mod error_examples;
mod events;
mod forms;
mod pages;
mod paragraphs;
mod responses;
mod schemas;
mod security;
mod successes;

use std::collections::HashMap;

use poem::{Route, RouteMethod, http::Method};
use poem_openapi::{ContactObject, ExternalDocumentObject, LicenseObject, OpenApi, OpenApiService};
use serde_json::{Map, Value, json};

use crate::http::{
    api::{
        self, audit_events::AuditApi, authentication::TokensApi, browser_session::BrowserApi,
        current_user::AccountsApi, health::HealthApi, items::ItemsApi, oauth_clients::ClientsApi,
        personal_access_tokens::PersonalTokensApi, revocation_stream::FeedApi,
        sessions::DevicesApi, users::UsersApi, well_known::WellKnownApi,
    },
    auth::caller,
    forward_auth::{self, ForwardAuthApi},
    oauth::OAuthApi,
};

/// Declares the faces whose operations there are.
macro_rules! apis {
    ($($api:ident),* $(,)?) => {
        /// All operations.
        pub type Api = ($($api,)*);

        const API: Api = ($($api,)*);
    };
}

apis!(
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

/// The operations beside other routes. The framework's own service reads query and cookies of every
/// request once more, for extractors that nothing here uses.
pub fn add_operations(routes: Route) -> Route {
    let mut operations = HashMap::new();
    API.add_routes(&mut operations);
    // The framework knows nine methods, and a proxy may ask with any.
    let check = operations
        .remove(forward_auth::PATH)
        .and_then(|mut methods| methods.remove(&Method::GET));
    let routes = routes.at(forward_auth::PATH, check.expect("it is an operation"));
    operations
        .into_iter()
        .fold(routes, |routes, (path, methods)| {
            let by_method =
                |known: RouteMethod, (method, operation)| known.method(method, operation);
            routes.at(
                path,
                methods.into_iter().fold(RouteMethod::new(), by_method),
            )
        })
}

/// The operations as the framework documents them.
pub fn service() -> OpenApiService<Api, ()> {
    // Whoever wants the other one of the two finds both beside the source.
    let license = LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/MIT.html");
    OpenApiService::new(API, "Latchkey API", crate::VERSION)
        .description(include_str!("../pages/document.md"))
        .contact(ContactObject::new().name("Operator of this server"))
        .external_document(ExternalDocumentObject::new("/problems").description("Error codes"))
        .license(license)
}

/// The document as it is served and checked in.
pub fn json() -> String {
    let document = serde_json::to_string_pretty(&value()).expect("a JSON value can be written");
    document + "\n"
}

/// The document.
pub fn value() -> Value {
    let mut document: Value =
        serde_json::from_str(&service().spec()).expect("the framework writes JSON");
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    pages::patch(&mut document);
    operations(&mut document, security::patch);
    operations(&mut document, clients::patch);
    clients::add_scheme(&mut document);
    operations(&mut document, responses::patch);
    operations(&mut document, parameters);
    path_ids(&mut document);
    operations(&mut document, successes::patch);
    events::patch(&mut document);
    schemas::patch(
        document["components"]["schemas"]
            .as_object_mut()
            .expect("there are schemas"),
    );
    forms::patch(&mut document);
    in_reading_order(&mut document);
    paragraphs::join(&mut document);
    document
}

/// The framework sorts groups and schemes by name.
fn in_reading_order(document: &mut Value) {
    const TAGS: [&str; 12] = [
        "Authentication",
        "Current user",
        "Sessions",
        "Personal access tokens",
        "Audit log",
        "Password recovery",
        "Items (sample)",
        "Tokens (OAuth 2.0)",
        "User administration",
        "OAuth clients",
        "Forward authentication and keys",
        "Health",
    ];
    const SCHEMES: [&str; 5] = [
        caller::BEARER,
        caller::PASSWORD,
        caller::CLIENT_CREDENTIALS,
        caller::COOKIE,
        clients::SCHEME,
    ];
    let tags = document["tags"].as_array_mut().expect("there are groups");
    tags.sort_by_key(|tag| TAGS.iter().position(|name| tag["name"] == *name));
    let schemes = document["components"]["securitySchemes"]
        .as_object_mut()
        .expect("there are schemes");
    for name in SCHEMES {
        let scheme = schemes.shift_remove(name).expect("it is registered");
        schemes.insert(name.to_owned(), scheme);
    }
}

/// IDs in paths share one extractor; each kind of resource has an example of its own.
fn path_ids(document: &mut Value) {
    let kinds = [
        ("/user/tokens/", api::schemas::TOKEN_ID),
        ("/sessions/", api::schemas::SESSION_ID),
        ("/items/", api::schemas::ITEM_ID),
        ("/users/", api::schemas::USER_ID),
        ("/clients/", api::schemas::CLIENT_ID),
    ];
    let paths = document["paths"].as_object_mut().expect("there are paths");
    for (path, operations) in paths {
        let Some((_, id)) = kinds.iter().find(|(prefix, _)| path.starts_with(prefix)) else {
            continue;
        };
        let parameters = operations
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
            .filter_map(|operation| operation["parameters"].as_array_mut())
            .flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "path") {
            parameter["schema"]["example"] = json!(id);
        }
    }
}

/// Every path with its methods, for `Negotiation`.
pub fn methods() -> Vec<(String, Vec<String>)> {
    let document = value();
    let paths = document["paths"].as_object().expect("there are paths");
    let methods = |operations: &Value| {
        operations
            .as_object()
            .map(|map| map.keys().map(|method| method.to_uppercase()).collect())
            .unwrap_or_default()
    };
    paths
        .iter()
        .map(|(path, operations)| (path.clone(), methods(operations)))
        .collect()
}

fn operations(document: &mut Value, mut change: impl FnMut(&mut Value)) {
    let paths = document["paths"].as_object_mut().expect("there are paths");
    paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
        .for_each(&mut change);
}

/// The framework tells of each that it is not deprecated. And Swagger UI sends whatever stands as
/// an example, wanted or not: so what may be left out has none.
fn parameters(operation: &mut Value) {
    for parameter in operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        parameter
            .as_object_mut()
            .expect("a parameter is a map")
            .shift_remove("deprecated");
        if parameter["required"] != true {
            parameter["schema"]
                .as_object_mut()
                .expect("a schema is a map")
                .shift_remove("example");
        }
    }
}
