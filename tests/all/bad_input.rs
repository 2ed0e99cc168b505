//! Bad input: every operation with a body, as the document lists them, × every way to get a body
//! wrong. Each is a 4xx that names the member, never the value, and nothing is written.

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::{
    contract::{json_body, operations},
    raw_http,
    test_server::{Session, TestResponse, TestServer},
    test_stores::{ask, execute},
};

/// A value that must not come back. No member's name holds it.
pub const MARKER: &str = "hunter2zqx";

/// Texts in which any character is welcome: passwords, and tokens, which are looked at as a whole.
const ANY_CHARACTERS: [&str; 5] = [
    "password",
    "current_password",
    "new_password",
    "refresh_token",
    "code",
];

/// Operations for which a body is optional: without one, or with an empty one, they are another
/// request.
const OPTIONAL: [&str; 1] = ["signOut"];

/// Operations that only pages may ask for.
const FOR_PAGES: [&str; 1] = ["createBrowserSession"];

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
        let made = server.create_item(&session, "Book").await;
        let target = |(method, path, operation): (Method, String, &'static Value)| {
            let id = operation["operationId"].as_str().expect("each has one");
            json_body(operation).map(|schema| Target {
                method,
                path,
                id,
                schema,
            })
        };
        let targets: Vec<_> = operations(&made.text("id"))
            .into_iter()
            .filter_map(target)
            .collect();
        assert!(targets.len() >= 10, "the document lists bodies");
        Fixture {
            server,
            session,
            targets,
        }
    }

    /// With all that it takes beside the body.
    fn request(&self, target: &Target) -> RequestBuilder {
        let request = self
            .server
            .request(target.method.clone(), &target.path)
            .bearer_auth(&self.session.access_token);
        if FOR_PAGES.contains(&target.id) {
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

    /// Must be refused as a bad request, without repeating what was sent.
    async fn refuses(&self, target: &Target, body: impl Into<Vec<u8>>) -> TestResponse {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let response = self.send(target, "application/json", body).await;
        let what = format!("{} with {shown}: {}", target.id, response.string());
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "invalid_request"),
            "{what}"
        );
        assert!(
            !response.string().contains(MARKER),
            "the value came back: {what}"
        );
        response
    }

    /// The same, and the answer names this member.
    async fn refuses_member(&self, target: &Target, member: &str, body: impl Into<Vec<u8>>) {
        let response = self.refuses(target, body).await;
        let errors = response.body["errors"]
            .as_array()
            .expect("members are named");
        assert!(
            errors.iter().any(|error| error["field"] == *member),
            "{} does not name {member}: {}",
            target.id,
            response.string()
        );
        assert!(
            response.text("detail").contains(&format!("`{member}`")),
            "{}",
            response.string()
        );
    }

    /// What bad input must leave alone.
    async fn fingerprint(&self) -> String {
        let whole = |table: &str| {
            format!(
                "(select coalesce(string_agg(t::text, ';' order by t::text), '') from {table} t)"
            )
        };
        let tables = ["users", "items", "sessions", "email_outbox"].map(whole);
        ask(&self.server, &format!("select {}", tables.join(" || "))).await
    }
}

/// The names and schemas of a body's members.
fn members(target: &Target) -> impl Iterator<Item = (&'static str, &'static Value)> {
    target.schema["properties"]
        .as_object()
        .expect("members")
        .iter()
        .map(|(name, schema)| (name.as_str(), schema))
}

/// `true` or `false`, and no text.
fn is_flag(schema: &Value) -> bool {
    schema["type"] == "boolean"
}

/// The document's example with one member replaced.
fn example_with(target: &Target, member: &str, value: Value) -> String {
    let mut body = target.schema["example"].clone();
    body[member] = value;
    body.to_string()
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
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
        // Where there need be none, `null` is none.
        let is_none = |body: &&Vec<u8>| OPTIONAL.contains(&target.id) && **body == b"null";
        for body in bodies.iter().filter(|body| !is_none(body)) {
            fixture.refuses(target, body.clone()).await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn without_a_body_nothing_happens() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in fixture
        .targets
        .iter()
        .filter(|target| !OPTIONAL.contains(&target.id))
    {
        fixture.refuses(target, "").await;
        fixture.refuses(target, " \n").await;
        let bare = fixture.server.send(fixture.request(target)).await;
        assert_eq!(bare.status, 415, "no media type either: {}", bare.string());
        if target.schema["required"]
            .as_array()
            .is_some_and(|required| !required.is_empty())
        {
            let response = fixture.refuses(target, "{}").await;
            let missing = response.body["errors"]
                .as_array()
                .expect("members")
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
async fn members_of_another_type_are_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    let others = [
        json!(12_345),
        json!(-1.5),
        json!(true),
        json!([MARKER]),
        json!({ MARKER: MARKER }),
        json!([]),
    ];
    for target in &fixture.targets {
        for (member, schema) in members(target) {
            for other in others
                .iter()
                .filter(|other| !(other.is_boolean() && is_flag(schema)))
            {
                fixture
                    .refuses_member(target, member, example_with(target, member, other.clone()))
                    .await;
            }
            if schema["nullable"] != true {
                fixture
                    .refuses_member(target, member, example_with(target, member, Value::Null))
                    .await;
            }
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn members_that_are_too_long_or_unprintable_are_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        for (member, schema) in members(target).filter(|(_, schema)| !is_flag(schema)) {
            let longest = usize::try_from(schema["maxLength"].as_u64().expect("all are bounded"))
                .expect("small");
            for length in [longest + 1, 60_000] {
                let long = MARKER.repeat(length / MARKER.len() + 1)[..length].to_owned();
                fixture
                    .refuses_member(target, member, example_with(target, member, json!(long)))
                    .await;
            }
            if schema["minLength"].as_u64() > Some(0) {
                fixture
                    .refuses_member(target, member, example_with(target, member, json!("")))
                    .await;
            }
            if !ANY_CHARACTERS.contains(&member) {
                for character in ['\u{0}', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}'] {
                    let text = format!("{MARKER}{character}@example.com");
                    fixture
                        .refuses_member(target, member, example_with(target, member, json!(text)))
                        .await;
                }
            }
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn members_that_come_twice_are_named() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        let example = target.schema["example"].to_string();
        // The example may be empty.
        let with = |more: String| {
            example
                .replacen('{', &format!("{{{more},"), 1)
                .replacen(",}", "}", 1)
        };
        for (member, _) in members(target) {
            let first = with(format!(
                "\"{member}\":\"{MARKER}\",\"{member}\":\"{MARKER}\""
            ));
            fixture.refuses_member(target, member, first.clone()).await;
            let detail = fixture.refuses(target, first).await.text("detail");
            assert!(detail.contains("is duplicated"), "{detail}");
            // The same name, spelled with an escape.
            let escaped = format!("\\u{:04x}{}", member.as_bytes()[0], &member[1..]);
            let second = with(format!(
                "\"{escaped}\":\"{MARKER}\",\"{member}\":\"{MARKER}\""
            ));
            fixture.refuses_member(target, member, second).await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

#[tokio::test]
async fn unknown_members_are_named_with_what_was_meant() {
    let fixture = Fixture::new().await;
    let before = fixture.fingerprint().await;
    for target in &fixture.targets {
        for (member, _) in members(target) {
            for typo in [
                format!("{member}x"),
                member[1..].to_owned(),
                member.to_uppercase(),
            ] {
                let body = example_with(target, &typo, json!(MARKER));
                fixture.refuses_member(target, &typo, body.clone()).await;
                let detail = fixture.refuses(target, body).await.text("detail");
                assert!(detail.contains("did you mean `"), "{typo}: {detail}");
            }
        }
        // What nobody may assign, or only administrators.
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
        let known = &target.schema["properties"];
        for member in forbidden
            .into_iter()
            .filter(|member| known[member].is_null())
        {
            fixture
                .refuses_member(target, member, example_with(target, member, json!(MARKER)))
                .await;
        }
    }
    assert_eq!(fixture.fingerprint().await, before);
}

/// A body within the limit must not be answered by a book.
#[tokio::test]
async fn thousands_of_unknown_members_get_a_short_answer() {
    let fixture = Fixture::new().await;
    let members: Vec<_> = (0..6_000)
        .map(|number| format!("\"m{number}\":1"))
        .collect();
    for target in &fixture.targets {
        let response = fixture
            .refuses(target, format!("{{{}}}", members.join(",")))
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
async fn a_body_that_is_too_large_is_refused() {
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
        let page = if FOR_PAGES.contains(&target.id) {
            "x-latchkey-request: 1\r\n"
        } else {
            ""
        };
        let headers = format!("content-type: application/json\r\n{page}{authorization}");
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
async fn another_media_type_is_told_what_to_send() {
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
