//! The OpenAPI document: generated from the code, patched where the framework has gaps, and checked
//! in under `openapi/`.

mod clients;
mod error_examples;
mod events;
mod pages;
mod responses;

use std::{collections::HashMap, sync::LazyLock};

use poem::{Route, RouteMethod, endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    ContactObject, ExternalDocumentObject, LicenseObject, OpenApi, OpenApiService,
    registry::{MetaApi, Registry},
};
use serde_json::{Map, Value, json};

use crate::{
    error::Code,
    http::{
        api::{
            self, applications::ApplicationsApi, audit_events::AuditApi, audit_log::AuditLogApi,
            authentication::AuthenticationApi, browser_session::BrowserSessionApi,
            current_user::CurrentUserApi, groups::GroupsApi, health::HealthApi, items::ItemsApi,
            oauth_clients::OAuthClientsApi, personal_access_tokens::PersonalAccessTokensApi,
            revocation_stream::RevocationStreamApi, sessions::SessionsApi, sign_ups::SignUpApi,
            user_export::UserExportApi, user_sessions::UserSessionsApi, users::UsersApi,
            well_known::WellKnownApi,
        },
        auth::caller,
        forward_auth::{self, ForwardAuthApi},
        oauth::OAuthApi,
        openapi::{
            patches::{forms, paragraphs, schemas},
            problem, responses as success_responses, security,
        },
    },
};

/// Nests pairs, because the framework combines at most 16 APIs in one tuple.
macro_rules! nested_pairs {
    () => { () };
    ($api:ident $(, $other:ident)*) => { ($api, nested_pairs!($($other),*)) };
}

/// Declares the APIs whose operations the server has.
macro_rules! apis {
    ($($api:ident),* $(,)?) => {
        type Apis = nested_pairs!($($api),*);

        const APIS: Apis = nested_pairs!($($api),*);
    };
}

apis!(
    SignUpApi,
    AuthenticationApi,
    BrowserSessionApi,
    CurrentUserApi,
    UserExportApi,
    PersonalAccessTokensApi,
    SessionsApi,
    ItemsApi,
    OAuthApi,
    UsersApi,
    UserSessionsApi,
    GroupsApi,
    ApplicationsApi,
    OAuthClientsApi,
    AuditApi,
    AuditLogApi,
    RevocationStreamApi,
    WellKnownApi,
    ForwardAuthApi,
    HealthApi,
);

/// All APIs, with corrections of the metadata that the framework derives.
struct Api;

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

/// The document with all patches, generated once per process.
static DOCUMENT: LazyLock<Value> = LazyLock::new(generate);

/// Adds all operations to the routes.
///
/// The service of the framework is not used for routing. It parses the query of every request for
/// extractors that the server does not have.
pub fn add_operations(routes: Route) -> Route {
    let mut operations = HashMap::new();
    Api.add_routes(&mut operations);
    // The framework routes nine methods. A forward authentication check can have any method.
    let verify = operations
        .remove(forward_auth::API_PATH)
        .and_then(|mut methods| methods.remove(&Method::GET));
    let routes = routes.at(forward_auth::API_PATH, verify.expect("an operation"));
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

/// Returns a service of the framework without operations. Its Swagger UI page is a template.
pub fn service() -> OpenApiService<(), ()> {
    OpenApiService::new((), "", "")
}

fn generate() -> Value {
    // The field accepts one URL. The repository contains both license texts.
    let license = LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/MIT.html");
    let service = OpenApiService::new(Api, "Latchkey API", crate::VERSION)
        .description(include_str!("pages/document.md"))
        .contact(ContactObject::new().name("Operator of this server"))
        .external_document(ExternalDocumentObject::new("/problems").description("Error codes"))
        .license(license);
    let mut document: Value = serde_json::from_str(&service.spec()).expect("valid JSON");
    patch(&mut document);
    document
}

/// Returns the document as JSON, as it is checked in.
pub fn json() -> String {
    to_json(&DOCUMENT)
}

/// Returns the document as JSON, as a server with this name of the session cookie serves it.
pub fn json_with_cookie(name: &str) -> String {
    let mut document = DOCUMENT.clone();
    document["components"]["securitySchemes"][caller::COOKIE]["name"] = json!(name);
    to_json(&document)
}

fn to_json(document: &Value) -> String {
    serde_json::to_string_pretty(document).expect("a JSON value") + "\n"
}

fn patch(document: &mut Value) {
    document["openapi"] = json!("3.0.3");
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    pages::patch(document);
    for_each_operation(document, mark_public);
    for_each_operation(document, clients::patch);
    clients::add_scheme(document);
    for_each_operation(document, responses::patch);
    for_each_operation(document, patch_parameters);
    set_path_id_examples(document);
    events::patch(document);
    schemas::patch(
        document["components"]["schemas"]
            .as_object_mut()
            .expect("schemas"),
    );
    forms::patch(document);
    sort_for_reading(document);
    paragraphs::join(document);
}

/// Sorts tags and security schemes, which the framework sorts by name.
fn sort_for_reading(document: &mut Value) {
    const TAGS: [&str; 13] = [
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
        "Applications",
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
    let paths = DOCUMENT["paths"].as_object().expect("paths");
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

fn list_operations() -> impl Iterator<Item = &'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let operations = paths.values().filter_map(Value::as_object);
    operations.flat_map(Map::values)
}

/// Whether the document lists the error for the operation.
pub fn lists_error(operation: &str, code: Code) -> bool {
    list_operations().any(|documented| {
        let response = &documented["responses"][code.status().to_string()];
        let examples = &response["content"][problem::MEDIA_TYPE]["examples"];
        documented["operationId"] == operation && examples[code.slug()].is_object()
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi::problem::{ALWAYS, BODY, CALLER};

    /// Other errors depend on the handler. Debug builds check them when they occur.
    #[test]
    fn operation_lists_errors_of_its_extractors() {
        for operation in list_operations().filter(|operation| has_problems(operation)) {
            let id = operation["operationId"].as_str().expect("an ID");
            let is_present = |list: &str, test: fn(&Value) -> bool| {
                operation[list].as_array().into_iter().flatten().any(test)
            };
            let has_scope =
                is_present("security", |scheme| scheme[caller::PASSWORD][0].is_string());
            let has_credential = is_present("security", |_| true)
                && !is_present("security", |scheme| *scheme == json!({}));
            let has_id = is_present("parameters", |parameter| parameter["in"] == "path");
            let groups = [
                (true, ALWAYS),
                (operation["requestBody"].is_object(), BODY),
                (has_scope, CALLER),
                (has_credential, &[Code::Unauthenticated]),
                (has_id, &[Code::NotFound]),
            ];
            for code in groups
                .iter()
                .filter(|(applies, _)| *applies)
                .flat_map(|(_, codes)| *codes)
            {
                assert!(lists_error(id, *code), "{id} doesn't list {}", code.slug());
            }
        }
    }

    fn has_problems(operation: &Value) -> bool {
        operation["responses"]["400"]["content"][problem::MEDIA_TYPE].is_object()
    }
}
