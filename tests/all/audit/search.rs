//! Administrators and the operator search the audit events of all users.

use reqwest::Method;
use serde_json::{Value, json};

use super::items;
use crate::{
    oauth::Client,
    operator::command,
    test_server::{Session, TestResponse, TestServer, wait_until},
    test_stores::execute,
};

async fn search(server: &TestServer, admin: &Session, query: &str) -> TestResponse {
    let path = format!("/audit?{query}");
    server
        .with_token(Method::GET, &path, &admin.access_token, Value::Null)
        .await
}

/// Returns the types of the events, sorted. The time of a failure is its minute, so that it can be
/// earlier than the previous event.
async fn kinds(server: &TestServer, admin: &Session, query: &str) -> Vec<String> {
    let response = search(server, admin, query).await;
    let events = items(&response);
    assert_eq!(response.body["next"], Value::Null, "{query}");
    let kind = |event: &Value| event["event"].as_str().expect("a type").to_owned();
    let mut kinds: Vec<String> = events.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn each_filter_selects_events_of_all_users() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let (john, mary) = (server.sign_up("john").await, server.sign_up("mary").await);
    let client = Client::register(&server, &admin, "items:read").await;
    server
        .with_token(
            Method::PATCH,
            &john.user_path(),
            &admin.access_token,
            json!({"role": "admin"}),
        )
        .await
        .is(200, "");
    let deletion = server
        .with_token(
            Method::DELETE,
            &mary.user_path(),
            &admin.access_token,
            Value::Null,
        )
        .await;
    deletion.is(204, "");
    server
        .try_sign_in("john", "wrong password")
        .await
        .is(401, "invalid_credentials");
    let find = async |query: String| kinds(&server, &admin, &query).await;
    let john_id = john.claim("sub");
    let failed = "sign_in_failed";
    wait_until("the failed sign-in is stored", || async {
        find(format!("event={failed}")).await == [failed]
    })
    .await;
    let of_john = ["role_changed", failed, "sign_up"];
    assert_eq!(find(format!("user={john_id}")).await, of_john);
    // Also of a deleted user.
    let of_mary = ["sign_up", "user_deleted"];
    assert_eq!(find(format!("user={}", mary.claim("sub"))).await, of_mary);
    let of_client = ["oauth_client_created"];
    assert_eq!(find(format!("client={}", client.id)).await, of_client);
    let actor = format!("actor={}", admin.claim("sub"));
    let by_admin = find(format!("{actor}&event=user_deleted,role_changed")).await;
    assert_eq!(by_admin, ["role_changed", "user_deleted"]);
    let both = find(format!("{actor}&user={john_id}")).await;
    assert_eq!(both, ["role_changed"]);
    let several = find(format!("event=role_changed,{failed}&user={john_id}")).await;
    assert_eq!(several, ["role_changed", failed]);
    let address = find("ip_address=127.0.0.1&event=user_deleted".to_owned()).await;
    assert_eq!(address, ["user_deleted"]);
    for other in ["ip_address=192.0.2.1", "event=signing_key_revoked"] {
        assert!(find(other.to_owned()).await.is_empty(), "{other}");
    }
    // The time of an event is part of the search, the end isn't.
    let event = items(&search(&server, &admin, "event=role_changed").await).remove(0);
    assert_eq!(event["subject_id"], json!(john_id));
    let at = event["at"].as_str().expect("a time");
    let since = find(format!("event=role_changed&since={at}")).await;
    assert_eq!(since, ["role_changed"]);
    assert!(
        find(format!("event=role_changed&until={at}"))
            .await
            .is_empty()
    );
    let between = find(format!(
        "until={at}&user={john_id}&event=sign_up,role_changed"
    ))
    .await;
    assert_eq!(between, ["sign_up"]);
}

#[tokio::test]
async fn pages_contain_each_event_once() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    for name in ["john", "mary", "jane"] {
        server.sign_up(name).await;
    }
    let all = items(&search(&server, &admin, "limit=100").await);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = search(&server, &admin, &format!("limit=2{after}")).await;
        found.extend(items(&page));
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        assert_eq!(items(&page).len(), 2);
        after = format!("&after={next}");
    }
    assert!(all.len() >= 4, "{all:?}");
    assert_eq!(found, all);
    let ids: Vec<&str> = all
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "{ids:?}");
}

/// Stores 10,001 events of one user. The oldest one is the only sign-out.
const MANY_EVENTS: &str = "
    insert into audit_events (id, at, event, outcome, subject_id, actor_id, actor, ip_address)
    select (lpad(to_hex(1767225600000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
        to_timestamp((1767225600000 + n) / 1000.0), case n when 1 then 'sign_out' else 'sign_in' end,
        'success', '018f0000-0000-7000-8000-000000000000', '018f0000-0000-7000-8000-000000000000',
        'user', '192.0.2.7'
    from generate_series(1, 10001::bigint) n";

/// A page examines a bounded number of events, and the next page continues there.
#[tokio::test]
async fn search_with_few_matches_continues_on_next_page() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    execute(&server, MANY_EVENTS).await;
    let id = "018f0000-0000-7000-8000-000000000000";
    for filter in [
        format!("user={id}"),
        format!("actor={id}"),
        "ip_address=192.0.2.7".to_owned(),
    ] {
        let query = format!("{filter}&event=sign_out");
        let first = search(&server, &admin, &query).await;
        assert!(items(&first).is_empty(), "{filter}");
        let query = format!("{query}&after={}", first.text("next"));
        let second = search(&server, &admin, &query).await;
        assert_eq!(items(&second)[0]["at"], "2026-01-01T00:00:00.001Z");
        assert_eq!(second.body["next"], Value::Null, "{filter}");
    }
    // The index of the event type leads there directly, and the command continues by itself.
    assert_eq!(kinds(&server, &admin, "event=sign_out").await, ["sign_out"]);
    let arguments = [
        "audit", "--user", id, "--event", "sign_out", "--output", "json",
    ];
    let found: Value =
        serde_json::from_str(&command(&server, &arguments).await.well()).expect("JSON");
    let expected = search(&server, &admin, "event=sign_out").await;
    assert_eq!(found, expected.body);
}

#[tokio::test]
async fn invalid_filters_are_rejected() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let id = admin.claim("sub");
    for (query, field) in [
        ("user=john", "user"),
        ("actor=x", "actor"),
        ("event=sign_in,x", "event"),
        ("event=", "event"),
        ("ip_address=192.0.2.0/24", "ip_address"),
        ("since=yesterday", "since"),
        ("until=2026-11-20", "until"),
        (&format!("user={id}&client={id}"), "client"),
    ] {
        let response = search(&server, &admin, query).await;
        let errors = &response.is(400, "invalid_request").body["errors"];
        assert_eq!(errors[0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn command_prints_audit_log() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    server.sign_up("mary").await;
    let id = john.claim("sub");
    let text = command(&server, &["audit", "--event", "sign_up", "--user", "john"]).await;
    let text = text.well();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with("TIME") && lines[1].contains(&id),
        "{text}"
    );
    let limited = command(&server, &["audit", "--limit", "1"]).await;
    limited.expect_hint("more events can match");
    for invalid in [
        ["--event", "x"],
        ["--since", "yesterday"],
        ["--ip-address", "x"],
        ["--actor", "john"],
    ] {
        let arguments = [&["audit"], invalid.as_slice()].concat();
        command(&server, &arguments)
            .await
            .expect_error(2, invalid[1]);
    }
    command(&server, &["audit", "--user", "jane"])
        .await
        .expect_error(1, "user not found");
}
