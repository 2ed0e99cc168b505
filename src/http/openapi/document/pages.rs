//! The session cookie in the document: state-changing requests with a cookie require a header and
//! can be rejected because of their origin. The framework supports neither.

use serde_json::{Map, Value, json};

use crate::http::auth::caller;

/// Operations for pages alone: they want the header whatever else is sent.
const FOR_PAGES: [&str; 2] = ["createBrowserSession", "deleteBrowserSession"];

/// Serves pages and programs; the header tells which it is.
const FOR_BOTH: &str = "signUp";

/// What answers with a cookie, by operation and status.
const COOKIES: [(&str, &str); 3] = [
    ("createBrowserSession", "200"),
    ("deleteBrowserSession", "204"),
    (FOR_BOTH, "201"),
];

/// Adds the header, its refusal, and the cookie of those answers that set one.
pub fn patch(document: &mut Value) {
    let paths = document["paths"].as_object_mut().expect("there are paths");
    for operations in paths.values_mut().filter_map(Value::as_object_mut) {
        for (method, operation) in operations {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let for_pages = FOR_PAGES.contains(&id.as_str());
            if for_pages || id == FOR_BOTH || (method != "get" && takes_cookie(operation)) {
                add_header(operation, for_pages);
                add_refusal(operation);
            }
            for (_, status) in COOKIES.iter().filter(|(setting, _)| *setting == id) {
                add_cookie(&mut operation["responses"][*status], "The session cookie.");
            }
            if takes_cookie(operation) && !for_pages {
                let responses = operation["responses"]
                    .as_object_mut()
                    .expect("there are responses");
                let good = responses
                    .iter_mut()
                    .filter(|(status, _)| status.starts_with('2'));
                good.for_each(|(_, response)| {
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

fn takes_cookie(operation: &Value) -> bool {
    let ways = operation["security"].as_array();
    ways.is_some_and(|ways| ways.iter().any(|way| way.get(caller::COOKIE).is_some()))
}

fn add_header(operation: &mut Value, required: bool) {
    // Whoever shows a token is no page, and may say what it likes here. And no list of one:
    // generators would make a type of it, for each operation.
    let schema = if required || operation["operationId"] == FOR_BOTH {
        json!({ "type": "string", "pattern": "^1$", "example": "1" })
    } else {
        json!({ "type": "string", "example": "1" })
    };
    let description = if required {
        "Protection against cross-site requests: always `1`."
    } else if operation["operationId"] == FOR_BOTH {
        "`1` requests a session cookie instead of tokens."
    } else {
        "Protection against cross-site requests: `1`. Required with the session cookie, ignored \
         with an access token."
    };
    let header = json!({
        "name": "X-Latchkey-Request",
        "in": "header",
        "description": description,
        "required": required,
        "schema": schema,
    });
    let parameters = operation
        .as_object_mut()
        .expect("an operation is a map")
        .entry("parameters");
    parameters
        .or_insert(json!([]))
        .as_array_mut()
        .expect("parameters are a list")
        .push(header);
}

fn add_refusal(operation: &mut Value) {
    let responses = operation["responses"]
        .as_object_mut()
        .expect("there are responses");
    let problem = responses["400"]["content"].clone();
    let refusal = responses
        .entry("403")
        .or_insert(json!({ "description": "", "content": problem }));
    let others = refusal["description"].as_str().unwrap_or_default();
    let separator = if others.is_empty() { "" } else { ", " };
    refusal["description"] = json!(format!("{others}{separator}`csrf`"));
    let mut sorted: Vec<_> = std::mem::take(responses).into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    *responses = Map::from_iter(sorted);
}
