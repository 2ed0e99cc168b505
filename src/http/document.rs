//! The OpenAPI document: generated from the code, patched where the framework has gaps, and checked
//! in under `openapi/`.

mod clients;
mod error_examples;
mod events;
mod pages;
mod responses;

use std::collections::HashMap;

use poem::{Route, RouteMethod, endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    ContactObject, ExternalDocumentObject, LicenseObject, OpenApi, OpenApiService,
    registry::{MetaApi, Registry},
};
use serde_json::{Map, Value, json};

use crate::http::{
    api::{
        self, audit_events::AuditApi, authentication::AuthenticationApi,
        browser_session::BrowserSessionApi, current_user::CurrentUserApi, health::HealthApi,
        items::ItemsApi, oauth_clients::OAuthClientsApi,
        personal_access_tokens::PersonalAccessTokensApi, revocation_stream::RevocationStreamApi,
        sessions::SessionsApi, users::UsersApi, well_known::WellKnownApi,
    },
    auth::caller,
    forward_auth::{self, ForwardAuthApi},
    oauth::OAuthApi,
    openapi::{
        patches::{forms, paragraphs, schemas},
        responses as success_responses, security,
    },
};

/// Declares the APIs whose operations the server has.
macro_rules! apis {
    ($($api:ident),* $(,)?) => {
        type Apis = ($($api,)*);

        const APIS: Apis = ($($api,)*);
    };
}

apis!(
    AuthenticationApi,
    BrowserSessionApi,
    CurrentUserApi,
    PersonalAccessTokensApi,
    SessionsApi,
    ItemsApi,
    OAuthApi,
    UsersApi,
    OAuthClientsApi,
    AuditApi,
    RevocationStreamApi,
    WellKnownApi,
    ForwardAuthApi,
    HealthApi,
);

/// All APIs, with corrections of the metadata that the framework derives.
pub struct Api;

impl OpenApi for Api {
    fn meta() -> Vec<MetaApi> {
        let mut apis = Apis::meta();
        let paths = apis.iter_mut().flat_map(|api| &mut api.paths);
        for operation in paths.flat_map(|path| &mut path.operations) {
            security::attach_scopes(operation);
            success_responses::describe(operation);
        }
        apis
    }

    fn register(registry: &mut Registry) {
        caller::register_schemes(registry);
        Apis::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        APIS.add_routes(routes);
    }
}

/// Adds all operations to the routes.
///
/// The service of the framework is not used for routing. It parses the query of every request for
/// extractors that the server does not have.
pub fn add_operations(routes: Route) -> Route {
    let mut operations = HashMap::new();
    Api.add_routes(&mut operations);
    // The framework routes nine methods. A forward authentication check can have any method.
    let verify = operations
        .remove(forward_auth::PATH)
        .and_then(|mut methods| methods.remove(&Method::GET));
    let routes = routes.at(forward_auth::PATH, verify.expect("an operation"));
    operations
        .into_iter()
        .fold(routes, |routes, (path, methods)| {
            let add_method =
                |route: RouteMethod, (method, operation)| route.method(method, operation);
            routes.at(
                path,
                methods.into_iter().fold(RouteMethod::new(), add_method),
            )
        })
}

/// Returns the framework's service, whose document has no patches.
pub fn service() -> OpenApiService<Api, ()> {
    // The field accepts one URL. The repository contains both license texts.
    let license = LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/MIT.html");
    OpenApiService::new(Api, "Latchkey API", crate::VERSION)
        .description(include_str!("pages/document.md"))
        .contact(ContactObject::new().name("Operator of this server"))
        .external_document(ExternalDocumentObject::new("/problems").description("Error codes"))
        .license(license)
}

/// Returns the document as JSON, as it is served and checked in.
pub fn json() -> String {
    let document = serde_json::to_string_pretty(&value()).expect("a JSON value");
    document + "\n"
}

/// Returns the document with all patches.
pub fn value() -> Value {
    let mut document: Value = serde_json::from_str(&service().spec()).expect("valid JSON");
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    pages::patch(&mut document);
    for_each_operation(&mut document, mark_public);
    for_each_operation(&mut document, clients::patch);
    clients::add_scheme(&mut document);
    for_each_operation(&mut document, responses::patch);
    for_each_operation(&mut document, patch_parameters);
    set_path_id_examples(&mut document);
    events::patch(&mut document);
    schemas::patch(
        document["components"]["schemas"]
            .as_object_mut()
            .expect("schemas"),
    );
    forms::patch(&mut document);
    sort_for_reading(&mut document);
    paragraphs::join(&mut document);
    document
}

/// Sorts tags and security schemes, which the framework sorts by name.
fn sort_for_reading(document: &mut Value) {
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
    let tags = document["tags"].as_array_mut().expect("tags");
    tags.sort_by_key(|tag| TAGS.iter().position(|name| tag["name"] == *name));
    let schemes = document["components"]["securitySchemes"]
        .as_object_mut()
        .expect("security schemes");
    for name in SCHEMES {
        let scheme = schemes.shift_remove(name).expect("a registered scheme");
        schemes.insert(name.to_owned(), scheme);
    }
}

/// Sets the examples of IDs in paths. All IDs share one extractor, but each kind of resource has
/// its own example.
fn set_path_id_examples(document: &mut Value) {
    let examples = [
        ("/user/tokens/", api::schemas::TOKEN_ID),
        ("/sessions/", api::schemas::SESSION_ID),
        ("/items/", api::schemas::ITEM_ID),
        ("/users/", api::schemas::USER_ID),
        ("/clients/", api::schemas::CLIENT_ID),
    ];
    let paths = document["paths"].as_object_mut().expect("paths");
    for (path, operations) in paths {
        let Some((_, id)) = examples.iter().find(|(prefix, _)| path.starts_with(prefix)) else {
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

/// Returns every path with its methods.
pub fn list_methods() -> Vec<(String, Vec<String>)> {
    let document = value();
    let paths = document["paths"].as_object().expect("paths");
    let uppercase_methods = |operations: &Value| {
        operations
            .as_object()
            .map(|map| map.keys().map(|method| method.to_uppercase()).collect())
            .unwrap_or_default()
    };
    paths
        .iter()
        .map(|(path, operations)| (path.clone(), uppercase_methods(operations)))
        .collect()
}

fn for_each_operation(document: &mut Value, mut patch: impl FnMut(&mut Value)) {
    let paths = document["paths"].as_object_mut().expect("paths");
    paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
        .for_each(&mut patch);
}

/// Adds an empty list to an operation without authentication, which documents that it is public.
fn mark_public(operation: &mut Value) {
    let operation = operation.as_object_mut().expect("an object");
    operation.entry("security").or_insert(json!([]));
}

/// Removes `deprecated: false`, which the framework adds to every parameter, and the examples of
/// optional parameters, because Swagger UI sends every example.
fn patch_parameters(operation: &mut Value) {
    for parameter in operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        parameter
            .as_object_mut()
            .expect("an object")
            .shift_remove("deprecated");
        if parameter["required"] != true {
            parameter["schema"]
                .as_object_mut()
                .expect("an object")
                .shift_remove("example");
        }
    }
}
