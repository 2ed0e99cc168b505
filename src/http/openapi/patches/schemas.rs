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

/// Form of the sign-in. It rejects unknown fields.
const SIGN_IN_FORM: &str = "SignInForm";

/// Responses that omit absent fields: by RFC 6749 and RFC 7662, at a sign-up with the session
/// cookie, which returns no tokens, and a token pair, in which `password_change_required` is only
/// `true`.
const OMIT_NULL: [&str; 4] = [
    "IssuedToken",
    "Introspection",
    "SignUpResponse",
    "TokenPair",
];

/// Minimum number of fields in bodies with alternative fields, such as `username` or `email`. A
/// union would be exact, but client generators do not support it.
const MIN_PROPERTIES: [(&str, u8); 4] = [
    ("SignUpRequest", 2),
    ("SignInRequest", 2),
    (SIGN_IN_FORM, 2),
    ("CreateUserRequest", 1),
];

/// Patches all schemas, first by common rules and then by name.
pub fn patch(schemas: &mut Map<String, Value>) {
    patch_each(schemas);
    add_error_code_schema(schemas);
    add_audit_enums(schemas);
    for (name, minimum) in MIN_PROPERTIES {
        get_schema(schemas, name)["minProperties"] = json!(minimum);
    }
    get_schema(schemas, "IssueTokenRequest")["properties"]["grant_type"]["enum"] =
        json!(["refresh_token", "client_credentials"]);
    for (name, example) in examples() {
        get_schema(schemas, name)["example"] = example;
    }
}

/// Patches each schema by common rules.
pub fn patch_each(schemas: &mut Map<String, Value>) {
    for (name, schema) in schemas {
        deny_unknown(name, schema);
        let allows_unknown = ALLOW_UNKNOWN.contains(&name.as_str());
        if allows_unknown || name == SIGN_IN_FORM {
            remove_nullable(schema);
        }
        if allows_unknown {
            remove_min_length(schema);
        }
        for (_, field) in schema
            .get_mut("properties")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            inline_ref(field);
            fix_integer_format(field);
        }
    }
}

fn get_schema<'a>(schemas: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    schemas
        .get_mut(name)
        .unwrap_or_else(|| panic!("{name} is not a schema; fix the tables of schemas.rs"))
}

/// Moves the error codes to a schema of their own, so that generators create a named type.
fn add_error_code_schema(schemas: &mut Map<String, Value>) {
    let code = &mut get_schema(schemas, "ErrorResponse")["properties"]["code"];
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

/// Adds the closed lists of audit events as inline enums. As separate schemas, they would cause
/// conflicts of generated Go constants, because those have no prefix and lists share values.
fn add_audit_enums(schemas: &mut Map<String, Value>) {
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
    let event = &mut get_schema(schemas, "AuditEvent")["properties"];
    event["event"]["enum"] = json!(events);
    event["outcome"]["enum"] = json!(outcomes);
    event["actor"]["enum"] = json!(actors);
}

fn replace_user_example() -> Value {
    json!({
        "username": "jane",
        "email": null,
        "name": null,
        "role": "user",
        "disabled": false,
    })
}

/// Examples of bodies with fields that exclude each other or are for special cases. Swagger UI and
/// Postman send an example unchanged, so it must be valid.
fn examples() -> [(&'static str, Value); 13] {
    let sign_in = json!({ "username": "john", "password": "secret123" });
    [
        ("SignInRequest", sign_in.clone()),
        (SIGN_IN_FORM, sign_in),
        // The access token of the request identifies the session.
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
        // Differs from the user in the sign-up example.
        (
            "CreateUserRequest",
            json!({
                "username": "jane",
                "email": "jane@example.com",
                "name": "Jane Doe",
                "role": "user",
            }),
        ),
        ("ReplaceUserRequest", replace_user_example()),
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

/// Request bodies reject unknown fields. Responses contain all fields, even if a value is `null`.
fn deny_unknown(name: &str, schema: &mut Value) {
    if ALLOW_UNKNOWN.contains(&name) || OMIT_NULL.contains(&name) {
        return;
    }
    if name.ends_with("Request") || name == SIGN_IN_FORM {
        schema["additionalProperties"] = json!(false);
    } else {
        require_all_fields(schema);
    }
}

/// A form cannot contain `null`. A generated client would send the word.
fn remove_nullable(form: &mut Value) {
    for (_, field) in form["properties"].as_object_mut().into_iter().flatten() {
        field
            .as_object_mut()
            .and_then(|field| field.shift_remove("nullable"));
    }
}

/// An empty optional field is valid, because it counts as omitted (RFC 6749 section 3.2).
fn remove_min_length(form: &mut Value) {
    let required = form["required"].clone();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, field) in form["properties"].as_object_mut().into_iter().flatten() {
        if !is_required(name) {
            field
                .as_object_mut()
                .and_then(|field| field.shift_remove("minLength"));
        }
    }
}

fn require_all_fields(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, property) in properties.iter_mut() {
        // `errors` is the only field that is omitted if it has no value.
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

/// Replaces `allOf` with its reference. The framework adds `allOf` to a field with a description,
/// and generators create a separate type for it.
fn inline_ref(field: &mut Value) {
    let reference = field["allOf"][0]["$ref"].as_str().map(str::to_owned);
    if let Some(reference) = reference {
        *field = json!({ "$ref": reference });
    }
}

/// Replaces integer formats that OpenAPI 3.0 does not define. Some generators use 32 bits for them.
fn fix_integer_format(field: &mut Value) {
    let format = match field["format"].as_str() {
        Some("uint64") => "int64",
        Some("uint16") => "int32",
        _other => return,
    };
    field["format"] = json!(format);
    field["minimum"] = json!(0);
}
