//! Responses: media types, error codes with examples, and headers.

use serde_json::{Map, Value, json};

use crate::{
    error::Code,
    http::{
        forward_auth,
        middleware::rate_limit_headers,
        oauth,
        openapi::{document::error_examples::Context, problem},
    },
};

/// Descriptions of headers. The framework writes all names in capitals and has no descriptions.
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

/// Patches all responses of an operation, and the media types of its body.
pub fn patch(operation: &mut Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        without_charset(content);
    }
    let context = Context::of(operation);
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let responses = operation["responses"]
        .as_object_mut()
        .expect("there are responses");
    let is_limited = responses.contains_key("429");
    for (status, response) in responses {
        if let Some(content) = response.get_mut("content") {
            without_charset(content);
        }
        explain(response, &context);
        if let Some(example) = oauth::error_example(&id, status) {
            response["content"]["application/json"]["example"] = example;
        }
        headers(response, status);
        if is_limited {
            rate_limit_headers::document(response, &id, status);
        }
        if id == "verifyRequest" {
            forward_auth::document(response);
        }
    }
}

/// `application/json; charset=utf-8` is no media type of its own: generators look for
/// `application/json`.
fn without_charset(content: &mut Value) {
    let old = std::mem::take(content.as_object_mut().expect("content is a map"));
    let bare = |name: String| name.split(';').next().unwrap_or_default().to_owned();
    *content = Value::Object(
        old.into_iter()
            .map(|(name, media)| (bare(name), media))
            .collect(),
    );
}

/// Adds the title of each code that the description lists, and an example of each.
fn explain(response: &mut Value, context: &Context) {
    let codes = codes(response);
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
    let meaning = |code: &Code| format!("- `{}`: {}", code.slug(), code.title());
    response["description"] = json!(codes.iter().map(meaning).collect::<Vec<_>>().join("\n"));
}

/// The codes that a response's description lists.
fn codes(response: &Value) -> Vec<Code> {
    let description = response["description"].as_str().unwrap_or_default();
    Code::ALL
        .iter()
        .copied()
        .filter(|code| description.contains(&format!("`{}`", code.slug())))
        .collect()
}

fn headers(response: &mut Value, status: &str) {
    let old = response
        .get_mut("headers")
        .and_then(Value::as_object_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    // Headers that the middleware adds by status.
    let added = match status {
        "401" => &["WWW-Authenticate"][..],
        "429" | "503" => &["Retry-After"],
        _other => &[],
    };
    let known = |name: &str| {
        HEADERS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let mut headers = Map::new();
    for name in old.keys().map(String::as_str).chain(added.iter().copied()) {
        match known(name) {
            Some((name, description)) => {
                headers.insert((*name).to_owned(), header(name, description))
            }
            None => headers.insert(name.to_owned(), old[name].clone()),
        };
    }
    if !headers.is_empty() {
        response["headers"] = Value::Object(headers);
    }
}

fn header(name: &str, description: &str) -> Value {
    let schema = match name {
        "Retry-After" => json!({ "type": "integer", "format": "int32", "minimum": 0 }),
        _text => json!({ "type": "string" }),
    };
    json!({ "description": description, "schema": schema })
}
