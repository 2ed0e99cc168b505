//! The session cookie in the document: state-changing requests with a cookie require a header and
//! can be rejected because of their origin. The framework documents neither for a security scheme.

use serde_json::{Map, Value, json};

use crate::http::auth::caller;

/// Operations that always require the header, because only pages use them.
const FOR_PAGES: [&str; 2] = ["createBrowserSession", "deleteBrowserSession"];

/// Operations for pages and other clients. The header distinguishes them.
const FOR_ALL_CLIENTS: [&str; 2] = ["signUp", "confirmSignUp"];

/// Responses that always contain `Set-Cookie`, by operation and status.
const COOKIES: [(&str, &str); 4] = [
    ("createBrowserSession", "200"),
    ("deleteBrowserSession", "204"),
    ("signUp", "201"),
    ("confirmSignUp", "201"),
];

/// Adds the header, its error, and `Set-Cookie` to the operations with the session cookie.
pub fn patch(document: &mut Value) {
    let paths = document["paths"].as_object_mut().expect("paths");
    for operations in paths.values_mut().filter_map(Value::as_object_mut) {
        for (method, operation) in operations {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let is_for_pages = FOR_PAGES.contains(&id.as_str());
            let is_for_all = FOR_ALL_CLIENTS.contains(&id.as_str());
            if is_for_pages || is_for_all || (method != "get" && accepts_cookie(operation)) {
                add_header(operation, is_for_pages);
                add_csrf_error(operation);
            }
            for (_, status) in COOKIES.iter().filter(|(operation, _)| *operation == id) {
                add_cookie(&mut operation["responses"][*status], "The session cookie.");
            }
            if accepts_cookie(operation) && !is_for_pages {
                let responses = operation["responses"].as_object_mut().expect("responses");
                let successes = responses
                    .iter_mut()
                    .filter(|(status, _)| status.starts_with('2'));
                successes.for_each(|(_, response)| {
                    add_cookie(
                        response,
                        "The session cookie, if the request has one and it is renewed or cleared.",
                    )
                });
            }
        }
    }
}

fn add_cookie(response: &mut Value, description: &str) {
    response["headers"]["Set-Cookie"] =
        json!({ "description": description, "schema": { "type": "string" } });
}

fn accepts_cookie(operation: &Value) -> bool {
    let has_cookie = |requirement: &Value| requirement.get(caller::COOKIE).is_some();
    let requirements = operation["security"].as_array();
    requirements.is_some_and(|requirements| requirements.iter().any(has_cookie))
}

fn add_header(operation: &mut Value, is_required: bool) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let is_for_all = FOR_ALL_CLIENTS.contains(&id);
    // A pattern, because generators create a type per operation for an enum with one value. The
    // schema of the optional header allows any value, which is ignored with an access token.
    let schema = if is_required || is_for_all {
        json!({ "type": "string", "pattern": "^1$", "example": "1" })
    } else {
        json!({ "type": "string", "example": "1" })
    };
    let description = if is_required {
        "Protection against cross-site requests: always `1`."
    } else if is_for_all {
        "`1` requests a session cookie instead of tokens."
    } else {
        "Protection against cross-site requests: `1`. Required with the session cookie, ignored \
         with an access token."
    };
    let header = json!({
        "name": "X-Latchkey-Request",
        "in": "header",
        "description": description,
        "required": is_required,
        "schema": schema,
    });
    let parameters = operation
        .as_object_mut()
        .expect("an object")
        .entry("parameters");
    parameters
        .or_insert(json!([]))
        .as_array_mut()
        .expect("an array")
        .push(header);
}

fn add_csrf_error(operation: &mut Value) {
    let responses = operation["responses"].as_object_mut().expect("responses");
    let problem = responses["400"]["content"].clone();
    let response = responses
        .entry("403")
        .or_insert(json!({ "description": "", "content": problem }));
    let codes = response["description"].as_str().unwrap_or_default();
    let separator = if codes.is_empty() { "" } else { ", " };
    response["description"] = json!(format!("{codes}{separator}`csrf`"));
    let mut sorted: Vec<_> = std::mem::take(responses).into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    *responses = Map::from_iter(sorted);
}
