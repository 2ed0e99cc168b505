//! The export of everything that is stored about a user.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    operator::run_user_command,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{execute, query_value},
};

const EMAIL: &str = "john@example.com";

async fn export(server: &TestServer, token: &str) -> TestResponse {
    server
        .with_token(Method::GET, "/user/export", token, Value::Null)
        .await
}

/// Creates a user with rows in every exported table, of which some need several pages.
async fn create_john(server: &TestServer) -> Session {
    let admin = server.admin("root").await;
    let john = server.sign_up_with_email("john", EMAIL).await;
    let other = server.sign_in("john").await;
    server.sign_out(&other.access_token).await.is(204, "");
    personal_access_tokens::make(server, &john, "items:read").await;
    server.forgot_password(EMAIL).await.is(202, "");
    let name = json!({"name": "John \"Doe\""});
    server
        .with_token(Method::PATCH, &john.user_path(), &admin.access_token, name)
        .await
        .is(200, "");
    let mary = server.sign_up("mary").await;
    server.create_item(&mary, "Secret").await.is(201, "");
    let insert = format!(
        "insert into items (user_id, id, name) \
        select '{}', gen_random_uuid(), 'item ' || n from generate_series(1, 250) n",
        john.claim("sub")
    );
    execute(server, &insert).await;
    john
}

fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().expect(name)
}

#[tokio::test]
async fn export_contains_everything_about_the_user_only() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    let john = create_john(&server).await;
    let response = export(&server, &john.access_token).await;
    let document = &response.is(200, "").body;
    let id = john.claim("sub");
    let file_name = format!("attachment; filename=\"latchkey-user-{id}.json\"");
    assert_eq!(response.header("content-disposition"), file_name);
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(document["user"]["email"], EMAIL);
    assert_eq!(document["user"]["name"], "John \"Doe\"");
    let sessions = list(document, "sessions");
    let reasons: Vec<&Value> = sessions.iter().map(|row| &row["revoked_reason"]).collect();
    assert_eq!(reasons, [&Value::Null, &json!("sign_out")]);
    assert_eq!(list(document, "personal_access_tokens").len(), 1);
    let items: BTreeSet<&str> = list(document, "items")
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert_eq!(items.len(), 250);
    assert!(items.contains("item 1") && items.contains("item 250"));
    let is_reset = |email: &Value| email["template"] == "password_reset";
    assert!(list(document, "emails").iter().any(is_reset));
    let events = list(document, "audit_events");
    assert_eq!(events[0]["event"], "user_exported");
    // The address and the ID of an administrator aren't data of the user.
    let by_admin = events.iter().find(|event| event["actor"] == "admin");
    let by_admin = by_admin.expect("the change of the name");
    assert_eq!(by_admin["actor_id"], Value::Null);
    assert_eq!(by_admin["ip_address"], Value::Null);

    // No hash, and nothing of another user.
    let text = response.string();
    let secrets = "select concat_ws(' ', u.password_hash, encode(t.secret_hash, 'hex')) \
        from users u join personal_access_tokens t on t.user_id = u.id";
    for secret in query_value(&server, secrets).await.split(' ') {
        assert!(!text.contains(secret), "{secret}");
    }
    for other in ["hash", "mary", "Secret", PASSWORD] {
        assert!(!text.contains(other), "{other}");
    }
    let recorded = format!(
        "select count(*) from audit_events where event = 'user_exported' and actor_id = '{id}'"
    );
    assert_eq!(query_value(&server, &recorded).await, "1");
}

#[tokio::test]
async fn command_prints_the_same_document() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    let john = create_john(&server).await;
    // An export contains the time at which an email was sent.
    let unsent = "select count(*) from email_outbox where sent_at is null";
    wait_until("the emails are sent", || async {
        query_value(&server, unsent).await == "0"
    })
    .await;
    let api = export(&server, &john.access_token).await;
    let output = run_user_command(&server, &["export", "john"], "").await;
    let mut printed: Value = serde_json::from_str(&output).expect("JSON");
    let mut document = api.is(200, "").body.clone();
    let events = printed["audit_events"].as_array_mut().expect("events");
    let event = events.remove(0);
    assert_eq!(
        (&event["event"], &event["actor"]),
        (&json!("user_exported"), &json!("operator"))
    );
    for document in [&mut printed, &mut document] {
        document["exported_at"].take();
    }
    assert_eq!(printed, document);
}

#[tokio::test]
async fn export_requires_session_and_scope_of_items() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let scopes = "user:read user:write items:read";
    let (_, personal) = personal_access_tokens::make(&server, &john, scopes).await;
    export(&server, &personal).await.is(403, "forbidden");
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "user:read user:write"),
    ];
    let narrow = server
        .form("/login", &form)
        .await
        .is(200, "")
        .text("access_token");
    export(&server, &narrow).await.is(403, "insufficient_scope");
    let recorded = "select count(*) from audit_events where event = 'user_exported'";
    assert_eq!(query_value(&server, recorded).await, "0");
}

#[tokio::test]
async fn exports_are_rate_limited() {
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_RESET_REQUEST", "2/1h"),
    ])
    .await;
    let john = server.sign_up("john").await;
    for _ in 0..2 {
        export(&server, &john.access_token).await.is(200, "");
    }
    let response = export(&server, &john.access_token).await;
    response.is(429, "too_many_requests");
    run_user_command(&server, &["export", "john"], "").await;
}

/// A client must not take a part of the document for all of it.
#[tokio::test]
async fn failed_export_aborts_response() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    execute(&server, "alter table items rename to missing_items").await;
    let request = server
        .request(Method::GET, "/user/export")
        .bearer_auth(&john.access_token);
    let response = request.send().await.expect("the head of a response");
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    server.wait_for_log(&["user export aborted"]).await;
    execute(&server, "alter table missing_items rename to items").await;
    export(&server, &john.access_token).await.is(200, "");
}

/// Every exported table, with its field in the document, and the columns that the document lacks.
const EXPORTED: &[(&str, &str, &[&str])] = &[
    // Internal counters, and the hash of the password.
    (
        "users",
        "user",
        &[
            "password_hash",
            "generation",
            "identity_version",
            "identity_changed_at",
        ],
    ),
    // `last_used_at` is `last_seen_at` in the API.
    (
        "sessions",
        "sessions",
        &["user_id", "generation", "rotation_counter", "last_used_at"],
    ),
    (
        "personal_access_tokens",
        "personal_access_tokens",
        &["user_id", "generation", "secret_hash"],
    ),
    ("items", "items", &["user_id", "version"]),
    // Codes are derived from the ID. The others are the state of the delivery.
    (
        "email_outbox",
        "emails",
        &[
            "id",
            "user_id",
            "attempts",
            "claimed_until",
            "consumed_at",
            "first_sent_at",
            "invalidated_at",
            "next_attempt_at",
            "priority",
        ],
    ),
    ("audit_events", "audit_events", &[]),
];

/// Tables with IDs of users that the document lacks, and the reason.
const NOT_EXPORTED: &[(&str, &str)] = &[
    ("reserved_names", "hashes of names, for a limited time"),
    ("revocations", "copies of the revoked sessions, for an hour"),
];

#[tokio::test]
async fn every_table_with_user_data_is_exported_or_listed() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    let john = create_john(&server).await;
    let document = export(&server, &john.access_token)
        .await
        .is(200, "")
        .body
        .clone();
    let query = "select string_agg(c.relname || '.' || a.attname, ' ') \
        from pg_attribute a join pg_class c on c.oid = a.attrelid \
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') \
            and not c.relispartition and a.attnum > 0 and not a.attisdropped";
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for column in query_value(&server, query).await.split(' ') {
        let (table, column) = column.split_once('.').expect("a table and a column");
        tables
            .entry(table.to_owned())
            .or_default()
            .insert(column.to_owned());
    }
    let is_user_id = |column: &String| {
        column.contains("user_id") || ["subject_id", "actor_id"].contains(&column.as_str())
    };
    let with_user_data: BTreeSet<&str> = tables
        .iter()
        .filter(|(table, columns)| *table == "users" || columns.iter().any(is_user_id))
        .map(|(table, _)| table.as_str())
        .collect();
    let exported = EXPORTED.iter().map(|(table, ..)| *table);
    let classified = exported.chain(NOT_EXPORTED.iter().map(|(table, _)| *table));
    assert_eq!(with_user_data, classified.collect());
    for (table, field, missing) in EXPORTED {
        let row = match &document[*field] {
            Value::Array(rows) => rows.first().expect(field),
            row => row,
        };
        let fields: BTreeSet<&str> = row
            .as_object()
            .expect(field)
            .keys()
            .map(String::as_str)
            .collect();
        let columns = tables[*table].iter().map(String::as_str);
        let lacking: BTreeSet<&str> = columns.filter(|column| !fields.contains(column)).collect();
        assert_eq!(lacking, missing.iter().copied().collect(), "{table}");
    }
}
