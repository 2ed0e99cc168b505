//! Answers: their media types, what their problems mean, and the headers that come along.

use serde_json::{Map, Value, json};

use crate::{
    error::{Code, Error},
    http::{forward_auth, params::Limit, problem, rate_limit},
};

/// What a header says. The framework writes all names in capitals, and explains none.
const HEADERS: [(&str, &str); 7] = [
    (
        "Cache-Control",
        "How long the answer may be kept, and by whom.",
    ),
    ("ETag", "The version: send it in `If-Match` with a change."),
    ("Location", "Where it is."),
    (
        "Pragma",
        "The same as `Cache-Control` for what is older (RFC 6749 section 5.1).",
    ),
    (
        "Preference-Applied",
        "The preference that was heeded (RFC 7240).",
    ),
    ("Retry-After", "Seconds to wait."),
    (
        "WWW-Authenticate",
        "The challenge (RFC 6750 section 3, RFC 7617).",
    ),
];

/// Mends all answers of an operation, and the media types of its body.
pub fn mend(operation: &mut Value, schemas: &Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        without_charset(content);
    }
    let (member, reason) = flaw(operation, schemas);
    let is_check = operation["operationId"] == "verify";
    let responses = operation["responses"]
        .as_object_mut()
        .expect("there are responses");
    let is_throttled = responses.contains_key("429");
    for (status, response) in responses {
        if let Some(content) = response.get_mut("content") {
            without_charset(content);
        }
        explain(response, &Error::flaw(member.as_str(), reason));
        headers(response, status);
        if is_throttled {
            rate_limit::document(response);
        }
        if is_check {
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

/// Something that may be wrong with a request of this operation: what is missing, a limit, or what
/// any request may have twice.
fn flaw(operation: &Value, schemas: &Value) -> (String, &'static str) {
    let bodies = operation["requestBody"]["content"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    let names = bodies.filter_map(|media| media["schema"]["$ref"].as_str()?.rsplit('/').next());
    let wanted = names.flat_map(|name| schemas[name]["required"].as_array().into_iter().flatten());
    if let Some(member) = wanted.filter_map(Value::as_str).next() {
        return (member.to_owned(), "is missing");
    }
    let parameters = operation["parameters"].as_array();
    if parameters.is_some_and(|parameters| {
        parameters
            .iter()
            .any(|parameter| parameter["name"] == "limit")
    }) {
        return ("limit".to_owned(), Limit::RULE);
    }
    let is_open = operation["security"].as_array().is_none_or(Vec::is_empty);
    (
        if is_open { "q" } else { "Authorization" }.to_owned(),
        "is there twice",
    )
}

/// Says what each code means, where so far only codes were listed, and gives an example of each.
fn explain(response: &mut Value, flaw: &Error) {
    let codes = codes(response);
    let Some(media) = response.pointer_mut(&format!(
        "/content/{}",
        problem::MEDIA_TYPE.replace('/', "~1")
    )) else {
        return;
    };
    let example = |code: &Code| {
        let value = if *code == Code::InvalidRequest {
            problem::value(flaw)
        } else {
            problem::example(*code)
        };
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
    // What the edge adds by status.
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
