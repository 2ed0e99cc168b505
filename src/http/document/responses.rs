//! Responses: media types, error codes with examples, and headers.

use serde_json::{Map, Value, json};

use crate::{
    error::Code,
    http::{
        context::rate_limit_headers, document::error_examples::ExampleContext, forward_auth, oauth,
        openapi::problem,
    },
};

/// Names and descriptions of headers. The framework converts the names to upper case.
const HEADERS: [(&str, &str); 7] = [
    (
        "Cache-Control",
        "Cache directives of the response (RFC 9111).",
    ),
    (
        "ETag",
        "Version of the item. Send it in `If-Match` to update or delete the item.",
    ),
    ("Location", "Path of the created resource."),
    (
        "Pragma",
        "`no-cache`, for HTTP/1.0 caches (RFC 6749 section 5.1).",
    ),
    ("Preference-Applied", "Applied preference (RFC 7240)."),
    ("Retry-After", "Seconds to wait before the next attempt."),
    (
        "WWW-Authenticate",
        "Authentication challenge (RFC 6750 section 3, RFC 7617).",
    ),
];

/// Patches all responses of an operation, and the media types of its request body.
pub fn patch(operation: &mut Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        remove_charset(content);
    }
    let context = ExampleContext::from_operation(operation);
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let responses = operation["responses"].as_object_mut().expect("responses");
    let is_limited = responses.contains_key("429");
    for (status, response) in responses {
        if let Some(content) = response.get_mut("content") {
            remove_charset(content);
        }
        describe_errors(response, &context);
        if let Some(example) = oauth::error_example(&id, status) {
            response["content"]["application/json"]["example"] = example;
        }
        patch_headers(response, status);
        if is_limited {
            rate_limit_headers::document(response, &id, status);
        }
        if id == "verifyRequest" {
            forward_auth::document(response);
        }
    }
}

/// Removes `charset` from media types, because client generators search for `application/json`.
fn remove_charset(content: &mut Value) {
    let old = std::mem::take(content.as_object_mut().expect("an object"));
    let strip_parameters = |name: String| name.split(';').next().unwrap_or_default().to_owned();
    *content = Value::Object(
        old.into_iter()
            .map(|(name, media)| (strip_parameters(name), media))
            .collect(),
    );
}

/// Adds the title and an example of each error code that the description lists.
fn describe_errors(response: &mut Value, context: &ExampleContext) {
    let codes = find_codes(response);
    let Some(media) = response.pointer_mut(&format!(
        "/content/{}",
        problem::MEDIA_TYPE.replace('/', "~1")
    )) else {
        return;
    };
    let example = |code: &Code| {
        let value = context.example(*code);
        (
            code.slug().to_owned(),
            json!({ "summary": code.title(), "value": value }),
        )
    };
    media["examples"] = Value::Object(codes.iter().map(example).collect());
    let list_item = |code: &Code| format!("- `{}`: {}", code.slug(), code.title());
    response["description"] = json!(codes.iter().map(list_item).collect::<Vec<_>>().join("\n"));
}

/// Returns the error codes that the description of a response lists.
fn find_codes(response: &Value) -> Vec<Code> {
    let description = response["description"].as_str().unwrap_or_default();
    Code::ALL
        .iter()
        .copied()
        .filter(|code| description.contains(&format!("`{}`", code.slug())))
        .collect()
}

fn patch_headers(response: &mut Value, status: &str) {
    let old = response
        .get_mut("headers")
        .and_then(Value::as_object_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    // Headers that every response with this status has.
    let added = match status {
        "401" => &["WWW-Authenticate"][..],
        "429" | "503" => &["Retry-After"],
        _other => &[],
    };
    let find_header = |name: &str| {
        HEADERS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let mut headers = Map::new();
    for name in old.keys().map(String::as_str).chain(added.iter().copied()) {
        match find_header(name) {
            Some((name, description)) => {
                headers.insert((*name).to_owned(), describe_header(name, description))
            }
            None => headers.insert(name.to_owned(), old[name].clone()),
        };
    }
    if !headers.is_empty() {
        response["headers"] = Value::Object(headers);
    }
}

fn describe_header(name: &str, description: &str) -> Value {
    let schema = match name {
        "Retry-After" => json!({ "type": "integer", "format": "int32", "minimum": 0 }),
        _text => json!({ "type": "string" }),
    };
    json!({ "description": description, "schema": schema })
}
