//! Bad input: every operation with a body in the OpenAPI document × every kind of malformed body.
//! Each response is a 4xx that names the field, never the value, and nothing is written.

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::{
    contract::{json_body, operations},
    raw_http,
    test_server::{Session, TestResponse, TestServer},
    test_stores::{execute, query_value},
};

/// A value that no response must repeat. No field name contains it.
pub const MARKER: &str = "hunter2zqx";

/// Fields that accept any character: passwords, and tokens, which are compared as a whole.
const FIELDS_WITH_ANY_CHARACTER: [&str; 5] = [
    "password",
    "current_password",
    "new_password",
    "refresh_token",
    "code",
];

/// Operations with an optional body. An empty body is a valid request for them.
const OPTIONAL_BODY_OPERATIONS: [&str; 1] = ["signOut"];

/// Operations that require the header `X-Latchkey-Request`.
const BROWSER_OPERATIONS: [&str; 1] = ["createBrowserSession"];

/// One operation with a JSON body.
struct Target {
    method: Method,
    path: String,
    id: &'static str,
    schema: &'static Value,
}

struct Fixture {
    server: TestServer,
    session: Session,
    targets: Vec<Target>,
}

impl Fixture {
    async fn new() -> Fixture {
        let server = TestServer::with(&[("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9")]).await;
        server
            .sign_up_with_email("owner", "owner@example.com")
            .await;
        execute(&server, "update users set role = 'admin'").await;
        let session = server.sign_in("owner").await;
        let created = server.create_item(&session, "Book").await;
        let target = |(method, path, operation): (Method, String, &'static Value)| {
            let id = operation["operationId"].as_str().expect("an operation ID");
            json_body(operation).map(|schema| Target {
                method,
                path,
                id,
                schema,
            })
        };
        let targets: Vec<_> = operations(&created.text("id"))
            .into_iter()
            .filter_map(target)
            .collect();
        assert!(targets.len() >= 10, "the OpenAPI document lists bodies");
        Fixture {
            server,
            session,
            targets,
        }
    }

    /// Builds a request with all required headers, without the body.
    fn request(&self, target: &Target) -> RequestBuilder {
        let request = self
            .server
            .request(target.method.clone(), &target.path)
            .bearer_auth(&self.session.access_token);
        if BROWSER_OPERATIONS.contains(&target.id) {
            request.header("x-latchkey-request", "1")
        } else {
            request
        }
    }

    async fn send(
        &self,
        target: &Target,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> TestResponse {
        let request = self.request(target);
        self.server
            .send(
                request
                    .header(header::CONTENT_TYPE, media_type)
                    .body(body.into()),
            )
            .await
    }

    /// Asserts that the body is rejected, and that the response doesn't repeat its values.
    async fn assert_rejected(&self, target: &Target, body: impl Into<Vec<u8>>) -> TestResponse {
        let body = body.into();
        let excerpt = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let response = self.send(target, "application/json", body).await;
        let context = format!("{} with {excerpt}: {}", target.id, response.string());
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "invalid_request"),
            "{context}"
        );
        assert!(
            !response.string().contains(MARKER),
            "the response repeats the value: {context}"
        );
        response
    }

    /// Asserts in addition that the error names this field.
    async fn assert_field_error(&self, target: &Target, field: &str, body: impl Into<Vec<u8>>) {
        let response = self.assert_rejected(target, body).await;
        let errors = response.body["errors"].as_array().expect("field errors");
        assert!(
            errors.iter().any(|error| error["field"] == *field),
            "{} does not name {field}: {}",
            target.id,
            response.string()
        );
        assert!(
            response.text("detail").contains(&format!("`{field}`")),
            "{}",
            response.string()
        );
    }

    /// The content of the tables that bad input must not change.
    async fn fingerprint(&self) -> String {
        let table_text = |table: &str| {
            format!(
                "(select coalesce(string_agg(t::text, ';' order by t::text), '') from {table} t)"
            )
        };
        let tables = ["users", "items", "sessions", "email_outbox"].map(table_text);
        query_value(&self.server, &format!("select {}", tables.join(" || "))).await
    }
}

/// The names and schemas of the fields of a body.
fn fields(target: &Target) -> impl Iterator<Item = (&'static str, &'static Value)> {
    target.schema["properties"]
        .as_object()
        .expect("fields")
        .iter()
        .map(|(name, schema)| (name.as_str(), schema))
}

fn is_flag(schema: &Value) -> bool {
    schema["type"] == "boolean"
}

fn is_list(schema: &Value) -> bool {
    schema["type"] == "array"
}

/// The example of the OpenAPI document with one field replaced.
fn example_with(target: &Target, field: &str, value: Value) -> String {
    let mut body = target.schema["example"].clone();
    body[field] = value;
    body.to_string()
}

#[tokio::test]
async fn body_that_is_not_an_object_is_rejected() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    let deep = format!(
        "{{\"{MARKER}\":{}{}}}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let deep_object = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let bodies: Vec<Vec<u8>> = vec![
        b"[]".into(),
        b"null".into(),
        b"1".into(),
        format!("\"{MARKER}\"").into(),
        format!("[{{\"username\":\"{MARKER}\"}}]").into(),
        format!("{{\"username\":\"{MARKER}").into(),
        format!("{{'username':'{MARKER}'}}").into(),
        format!("{{}}{MARKER}").into(),
        format!("username={MARKER}").into(),
        b"{\"username\":\"\xff\xfe\"}".into(),
        b"\xef\xbb\xbf{}".into(),
        br#"{"username":"\ud800"}"#.into(),
        br#"{"username":"\udc00\ud800x"}"#.into(),
        b"{\"username\":\"a\x00b\"}".into(),
        b"{\"username\":\"a\nb\"}".into(),
        br#"{"username":1e999}"#.into(),
        deep.into(),
        deep_object.into(),
    ];
    for target in &fixture.targets {
        // For an optional body, `null` is a valid empty body.
        let is_empty_body =
            |body: &&Vec<u8>| OPTIONAL_BODY_OPERATIONS.contains(&target.id) && **body == b"null";
        for body in bodies.iter().filter(|body| !is_empty_body(body)) {
            fixture.assert_rejected(target, body.clone()).await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn missing_body_is_rejected() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in fixture
        .targets
        .iter()
        .filter(|target| !OPTIONAL_BODY_OPERATIONS.contains(&target.id))
    {
        fixture.assert_rejected(target, "").await;
        fixture.assert_rejected(target, " \n").await;
        let without_media_type = fixture.server.send(fixture.request(target)).await;
        assert_eq!(
            without_media_type.status,
            415,
            "without a media type: {}",
            without_media_type.string()
        );
        if target.schema["required"]
            .as_array()
            .is_some_and(|required| !required.is_empty())
        {
            let response = fixture.assert_rejected(target, "{}").await;
            let missing = response.body["errors"]
                .as_array()
                .expect("fields")
                .iter()
                .map(|error| error["field"].clone());
            assert_eq!(
                Value::from_iter(missing),
                target.schema["required"],
                "{}",
                target.id
            );
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn field_of_wrong_type_is_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    let wrong_values = [
        json!(12_345),
        json!(-1.5),
        json!(true),
        json!([MARKER]),
        json!({ MARKER: MARKER }),
        json!([]),
    ];
    for target in &fixture.targets {
        for (field, schema) in fields(target) {
            for wrong_value in wrong_values
                .iter()
                .filter(|wrong_value| !(wrong_value.is_boolean() && is_flag(schema)))
                .filter(|wrong_value| !(wrong_value.is_array() && is_list(schema)))
            {
                fixture
                    .assert_field_error(
                        target,
                        field,
                        example_with(target, field, wrong_value.clone()),
                    )
                    .await;
            }
            if schema["nullable"] != true {
                fixture
                    .assert_field_error(target, field, example_with(target, field, Value::Null))
                    .await;
            }
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn field_with_bad_length_or_character_is_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        for (field, schema) in
            fields(target).filter(|(_, schema)| !is_flag(schema) && !is_list(schema))
        {
            let max_length = usize::try_from(schema["maxLength"].as_u64().expect("a length limit"))
                .expect("a small number");
            for length in [max_length + 1, 60_000] {
                let long = MARKER.repeat(length / MARKER.len() + 1)[..length].to_owned();
                fixture
                    .assert_field_error(target, field, example_with(target, field, json!(long)))
                    .await;
            }
            if schema["minLength"].as_u64() > Some(0) {
                fixture
                    .assert_field_error(target, field, example_with(target, field, json!("")))
                    .await;
            }
            if !FIELDS_WITH_ANY_CHARACTER.contains(&field) {
                for character in ['\u{0}', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}'] {
                    let text = format!("{MARKER}{character}@example.com");
                    fixture
                        .assert_field_error(target, field, example_with(target, field, json!(text)))
                        .await;
                }
            }
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn list_with_bad_length_or_item_is_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    let mut list_count = 0;
    for target in &fixture.targets {
        for (field, schema) in fields(target).filter(|(_, schema)| is_list(schema)) {
            list_count += 1;
            let limit = |schema: &Value, name: &str| {
                usize::try_from(schema[name].as_u64().expect("a limit")).expect("a small number")
            };
            let max_items = limit(schema, "maxItems");
            let max_length = limit(&schema["items"], "maxLength");
            let long = MARKER.repeat(max_length / MARKER.len() + 1)[..max_length + 1].to_owned();
            let distinct = (0..=max_items).map(|number| format!("{MARKER}{number}"));
            let lists = [
                json!(vec![MARKER; max_items + 1]),
                json!(vec![MARKER; 1_000]),
                json!(distinct.collect::<Vec<_>>()),
                json!([long]),
                json!([""]),
                json!([format!("{MARKER}\u{7}")]),
                json!([format!("{MARKER}\u{0}")]),
                json!([MARKER, null]),
                json!([MARKER, 12_345]),
                json!([MARKER, true]),
                json!([[MARKER]]),
                json!([{ MARKER: MARKER }]),
                json!({ "0": MARKER }),
            ];
            for list in lists {
                fixture
                    .assert_field_error(target, field, example_with(target, field, list))
                    .await;
            }
        }
    }
    assert!(list_count > 0, "the OpenAPI document has lists");
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn duplicate_field_is_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        let example = target.schema["example"].to_string();
        // The example can be an empty object.
        let example_with_fields = |more: String| {
            example
                .replacen('{', &format!("{{{more},"), 1)
                .replacen(",}", "}", 1)
        };
        for (field, _) in fields(target) {
            let first =
                example_with_fields(format!("\"{field}\":\"{MARKER}\",\"{field}\":\"{MARKER}\""));
            fixture
                .assert_field_error(target, field, first.clone())
                .await;
            let detail = fixture.assert_rejected(target, first).await.text("detail");
            assert!(detail.contains("is duplicated"), "{detail}");
            // The same name, written with an escape sequence.
            let escaped = format!("\\u{:04x}{}", field.as_bytes()[0], &field[1..]);
            let second = example_with_fields(format!(
                "\"{escaped}\":\"{MARKER}\",\"{field}\":\"{MARKER}\""
            ));
            fixture.assert_field_error(target, field, second).await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn unknown_field_is_named_with_suggestion() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        for (field, _) in fields(target) {
            for typo in [
                format!("{field}x"),
                field[1..].to_owned(),
                field.to_uppercase(),
            ] {
                let body = example_with(target, &typo, json!(MARKER));
                fixture
                    .assert_field_error(target, &typo, body.clone())
                    .await;
                let detail = fixture.assert_rejected(target, body).await.text("detail");
                assert!(detail.contains("did you mean `"), "{typo}: {detail}");
            }
        }
        // Fields that clients can't assign, or that only administrators can assign.
        let forbidden = [
            "role",
            "roles",
            "id",
            "user_id",
            "generation",
            "disabled",
            "email_verified",
            "created_at",
            "identity_version",
            "password_hash",
            "__proto__",
        ];
        let allowed_fields = &target.schema["properties"];
        for field in forbidden
            .into_iter()
            .filter(|field| allowed_fields[field].is_null())
        {
            fixture
                .assert_field_error(target, field, example_with(target, field, json!(MARKER)))
                .await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

/// A small request must not cause a large response.
#[tokio::test]
async fn thousands_of_unknown_fields_get_short_response() {
    let fixture = Fixture::new().await;
    let fields: Vec<_> = (0..6_000)
        .map(|number| format!("\"m{number}\":1"))
        .collect();
    for target in &fixture.targets {
        let response = fixture
            .assert_rejected(target, format!("{{{}}}", fields.join(",")))
            .await;
        assert!(
            response.bytes.len() < 10_000,
            "{}: {} bytes",
            target.id,
            response.bytes.len()
        );
    }
}

#[tokio::test]
async fn oversized_body_is_rejected() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    let authorization = format!("authorization: Bearer {}\r\n", fixture.session.access_token);
    for target in &fixture.targets {
        let padding = " ".repeat(70 * 1024);
        let body = format!("{}{padding}", target.schema["example"]);
        fixture
            .send(target, "application/json", body.clone())
            .await
            .is(413, "too_large");
        let line = format!("{} {}", target.method, target.path);
        let browser_header = if BROWSER_OPERATIONS.contains(&target.id) {
            "x-latchkey-request: 1\r\n"
        } else {
            ""
        };
        let headers = format!("content-type: application/json\r\n{browser_header}{authorization}");
        let response = raw_http::exchange(
            fixture.server.address,
            &raw_http::chunked(&line, &headers, body.as_bytes()),
        )
        .await;
        assert!(
            raw_http::status(&response) == 413 && response.contains("\"too_large\""),
            "{}: {response}",
            target.id
        );
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn wrong_media_type_error_names_supported_type() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        let form = if target.id == "signIn" {
            "application/x-www-form-urlencoded-x"
        } else {
            "application/x-www-form-urlencoded"
        };
        for media_type in [
            form,
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application",
            "",
        ] {
            let response = fixture
                .send(target, media_type, target.schema["example"].to_string())
                .await;
            response.is(415, "unsupported_media_type");
            assert!(
                response.text("detail").contains("`application/json`"),
                "{}",
                response.string()
            );
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}
