//! Schemas: as strict as the server, in the subset of OpenAPI that client generators support.

use serde_json::{Map, Value, json};

use latchkey_domain::audit::{Actor, EventKind, Outcome};
use uuid::Uuid;

use crate::error::Code;

/// Forms that ignore unknown fields (RFC 6749 section 3.2).
const ALLOW_UNKNOWN: [&str; 3] = [
    "IssueTokenRequest",
    "RevokeTokenRequest",
    "IntrospectTokenRequest",
];

/// The form of a sign-in. It is strict.
const SIGN_IN_FORM: &str = "SignInForm";

/// Answers that leave out what they have nothing to say of: because a standard wants it so (RFC
/// 6749, RFC 7662), and to pages, which get no tokens.
const OMIT_NULL: [&str; 3] = ["IssuedToken", "Introspection", "SignUpResponse"];

/// Bodies of which something must be there, though no member must: the fewest members. That it is a
/// user name or an address would be a union, which generators of clients do not know.
const MIN_PROPERTIES: [(&str, u8); 4] = [
    ("SignUpRequest", 2),
    ("SignInRequest", 2),
    (SIGN_IN_FORM, 2),
    ("CreateUserRequest", 1),
];

/// Mends all of them: what is so of each, and what is so of one by its name.
pub fn patch(schemas: &mut Map<String, Value>) {
    patch_schema(schemas);
    name_codes(schemas);
    close_lists(schemas);
    for (name, fewest) in MIN_PROPERTIES {
        named(schemas, name)["minProperties"] = json!(fewest);
    }
    named(schemas, "IssueTokenRequest")["properties"]["grant_type"]["enum"] =
        json!(["refresh_token", "client_credentials"]);
    for (name, example) in examples() {
        named(schemas, name)["example"] = example;
    }
}

/// What is so of each.
pub fn patch_schema(schemas: &mut Map<String, Value>) {
    for (name, schema) in schemas {
        deny_unknown(name, schema);
        let is_open = ALLOW_UNKNOWN.contains(&name.as_str());
        if is_open || name == SIGN_IN_FORM {
            without_null(schema);
        }
        if is_open {
            without_value(schema);
        }
        for (_, field) in schema
            .get_mut("properties")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            inline_ref(field);
            count(field);
        }
    }
}

fn named<'a>(schemas: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    schemas
        .get_mut(name)
        .unwrap_or_else(|| panic!("{name} is not a schema; fix the tables of schemas.rs"))
}

/// The closed list of codes is a schema of its own: so generators make a type of it, with a name.
fn name_codes(schemas: &mut Map<String, Value>) {
    let code = &mut named(schemas, "ErrorResponse")["properties"]["code"];
    let field = std::mem::replace(code, json!({ "$ref": "#/components/schemas/ErrorCode" }));
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.slug()).collect();
    let schema = json!({
        "type": "string",
        "title": "ErrorCode",
        "description": field["description"],
        "enum": codes,
    });
    schemas.insert("ErrorCode".to_owned(), schema);
}

/// The closed lists of audit events. They are not schemas of their own, because generated Go
/// constants have no prefix, and `user` and `refresh_token_reused` are in other lists as well.
fn close_lists(schemas: &mut Map<String, Value>) {
    let events: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let outcomes = [Outcome::Success, Outcome::Failure].map(Outcome::as_str);
    let actors = [
        Actor::User(Uuid::nil()),
        Actor::Admin(Uuid::nil()),
        Actor::Client(Uuid::nil()),
        Actor::Operator,
        Actor::Server,
        Actor::Unauthenticated,
    ]
    .map(Actor::as_str);
    let event = &mut named(schemas, "AuditEvent")["properties"];
    event["event"]["enum"] = json!(events);
    event["outcome"]["enum"] = json!(outcomes);
    event["actor"]["enum"] = json!(actors);
}

fn replacement() -> Value {
    json!({
        "username": "jane",
        "email": null,
        "name": null,
        "role": "user",
        "disabled": false,
    })
}

/// Bodies with fields that exclude each other or are for special cases. Swagger UI and Postman send
/// an example as it is, so it must work.
fn examples() -> [(&'static str, Value); 13] {
    let sign_in = json!({ "username": "john", "password": "secret123" });
    [
        ("SignInRequest", sign_in.clone()),
        (SIGN_IN_FORM, sign_in),
        // The request has an access token already.
        ("SignOutRequest", json!({})),
        (
            "ChangePasswordRequest",
            json!({ "current_password": "secret123", "new_password": "a better secret" }),
        ),
        ("UpdateItemRequest", json!({ "name": "A better book" })),
        (
            "CreateOAuthClientRequest",
            json!({
                "name": "billing",
                "scope": "items:read",
                "audience": "https://billing.example.com",
            }),
        ),
        // Another user than the one who signs up.
        (
            "CreateUserRequest",
            json!({
                "username": "jane",
                "email": "jane@example.com",
                "name": "Jane Doe",
                "role": "user",
            }),
        ),
        ("ReplaceUserRequest", replacement()),
        ("UpdateUserRequest", json!({ "name": "Jane Doe" })),
        // A fixed date would expire.
        (
            "CreatePersonalAccessTokenRequest",
            json!({ "name": "backup job", "scope": "items:read" }),
        ),
        (
            "IssueTokenRequest",
            json!({
                "grant_type": "refresh_token",
                "refresh_token": "lkr_7Zk2vQx9TnB4…",
                "client_id": "latchkey",
            }),
        ),
        (
            "RevokeTokenRequest",
            json!({ "token": "lkr_7Zk2vQx9TnB4…", "client_id": "latchkey" }),
        ),
        (
            "IntrospectTokenRequest",
            json!({ "token": "eyJhbGciOiJFZERTQSI…" }),
        ),
    ]
}

/// Request bodies reject unknown fields; responses always contain all fields, some of them `null`.
fn deny_unknown(name: &str, schema: &mut Value) {
    if ALLOW_UNKNOWN.contains(&name) || OMIT_NULL.contains(&name) {
        return;
    }
    if name.ends_with("Request") || name == SIGN_IN_FORM {
        schema["additionalProperties"] = json!(false);
    } else {
        always_there(schema);
    }
}

/// A form has no `null`: a client that reads of one would send the word.
fn without_null(form: &mut Value) {
    for (_, field) in form["properties"].as_object_mut().into_iter().flatten() {
        field
            .as_object_mut()
            .and_then(|field| field.shift_remove("nullable"));
    }
}

/// What is sent without a value counts as not sent (RFC 6749 section 3.2).
fn without_value(form: &mut Value) {
    let required = form["required"].clone();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|names| names.iter().any(|known| known == name))
    };
    for (name, field) in form["properties"].as_object_mut().into_iter().flatten() {
        if !is_required(name) {
            field
                .as_object_mut()
                .and_then(|field| field.shift_remove("minLength"));
        }
    }
}

fn always_there(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, property) in properties.iter_mut() {
        // The one member that is left out where there is nothing to say.
        if !required.contains(&json!(name)) && name != "errors" {
            property["nullable"] = json!(true);
        }
    }
    let names: Vec<_> = properties
        .keys()
        .filter(|name| *name != "errors")
        .map(|name| json!(name))
        .collect();
    schema["required"] = Value::Array(names);
}

/// A member that is another schema is that and nothing else: wrapped together with a description,
/// generators take it for a schema of its own.
fn inline_ref(field: &mut Value) {
    let reference = field["allOf"][0]["$ref"].as_str().map(str::to_owned);
    if let Some(reference) = reference {
        *field = json!({ "$ref": reference });
    }
}

/// Formats of whole numbers that OpenAPI has: of those that it has not, some generators make 32
/// bits.
fn count(field: &mut Value) {
    let format = match field["format"].as_str() {
        Some("uint64") => "int64",
        Some("uint16") => "int32",
        _other => return,
    };
    field["format"] = json!(format);
    field["minimum"] = json!(0);
}
