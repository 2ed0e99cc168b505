//! Tests of the list of the user's own sessions and of the revocation of single sessions.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer},
    test_stores::{execute, query_value},
};

const FIREFOX_USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

async fn list_sessions(server: &TestServer, session: &Session, query: &str) -> TestResponse {
    server
        .with_token(
            Method::GET,
            &format!("/sessions{query}"),
            &session.access_token,
            Value::Null,
        )
        .await
}

async fn revoke_session(server: &TestServer, session: &Session, id: &str) -> TestResponse {
    server
        .with_token(
            Method::DELETE,
            &format!("/sessions/{id}"),
            &session.access_token,
            Value::Null,
        )
        .await
}

#[tokio::test]
async fn list_contains_readable_user_agent_and_ip_address() {
    let server = TestServer::shared().await;
    let first = server.sign_up("john").await;
    let request = server
        .request(Method::POST, "/login")
        .header(header::USER_AGENT, FIREFOX_USER_AGENT);
    let second = server
        .send(request.json(&json!({"username": "john", "password": PASSWORD})))
        .await;
    let second = Session::of(second.is(200, ""));
    let response = list_sessions(&server, &second, "").await;
    let items = response.is(200, "").body["data"]
        .as_array()
        .expect("a list");
    assert_eq!((items.len(), &response.body["next"]), (2, &Value::Null));
    assert_eq!(
        (
            &items[0]["id"],
            &items[0]["current"],
            &items[0]["user_agent"]
        ),
        (&json!(first.claim("sid")), &json!(false), &Value::Null)
    );
    assert_eq!(
        (
            &items[1]["id"],
            &items[1]["current"],
            &items[1]["user_agent"],
            &items[1]["ip_address"]
        ),
        (
            &json!(second.claim("sid")),
            &json!(true),
            &json!("Firefox on Linux"),
            &json!("127.0.0.1")
        )
    );
    let times = ["created_at", "last_seen_at", "expires_at"]
        .map(|field| items[1][field].as_str().expect("a timestamp").to_owned());
    let seconds = |time: &String| time[.."2026-11-20T08:00:00".len()].to_owned();
    assert!(
        seconds(&times[0]) <= seconds(&times[1]) && seconds(&times[1]) < seconds(&times[2]),
        "{times:?}"
    );

    // The dashboard contains the same list.
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    assert_eq!(
        &dashboard.is(200, "").body["sessions"],
        &response.body["data"]
    );
}

#[tokio::test]
async fn pages_contain_each_session_once() {
    let server = TestServer::shared().await;
    let mut sessions = vec![server.sign_up("john").await];
    for _ in 0..4 {
        sessions.push(server.sign_in("john").await);
    }
    server.sign_up("jane").await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = list_sessions(&server, &sessions[0], &format!("?limit=2{after}")).await;
        let items = page.is(200, "").body["data"]
            .as_array()
            .expect("a list")
            .clone();
        assert!(items.len() <= 2);
        listed.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("a session ID").to_owned()),
        );
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut expected: Vec<String> = sessions
        .iter()
        .map(|session| session.claim("sid"))
        .collect();
    expected.sort();
    assert_eq!(listed, expected);
    for query in [
        "?limit=0",
        "?limit=101",
        "?limit=x",
        "?after=x",
        "?limit=1&limit=2",
    ] {
        list_sessions(&server, &sessions[0], query)
            .await
            .is(400, "invalid_request");
    }
}

#[tokio::test]
async fn revoked_and_expired_sessions_are_not_listed() {
    let server = TestServer::shared().await;
    let active = server.sign_up("john").await;
    let (revoked, idle) = (server.sign_in("john").await, server.sign_in("john").await);
    server.sign_out(&revoked.access_token).await.is(204, "");
    execute(
        &server,
        &format!(
            "update sessions set last_used_at = now() - interval '8 days' where id = '{}'",
            idle.claim("sid")
        ),
    )
    .await;
    let response = list_sessions(&server, &active, "").await;
    let items = response.is(200, "").body["data"]
        .as_array()
        .expect("a list");
    assert_eq!(
        (items.len(), &items[0]["id"]),
        (1, &json!(active.claim("sid")))
    );
}

#[tokio::test]
async fn revocation_is_enforced_everywhere_and_idempotent() {
    let server = TestServer::start().await;
    let (replica, own) = (server.replica().await, server.sign_up("john").await);
    let revoked = server.sign_in("john").await;
    assert_eq!(replica.verify(&revoked.access_token).await.0, 204);
    for replica in [&server, &server, &replica] {
        assert!(
            revoke_session(replica, &own, &revoked.claim("sid"))
                .await
                .is(204, "")
                .bytes
                .is_empty()
        );
    }
    for replica in [&replica, &server] {
        replica.rejects(&revoked).await;
        assert_eq!(replica.verify(&own.access_token).await.0, 204);
    }
    assert_eq!(
        query_value(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "session_revoked"
    );
    // A user can also revoke the session of the request.
    revoke_session(&server, &own, &own.claim("sid"))
        .await
        .is(204, "");
    assert_eq!(
        replica.verify(&own.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn unknown_or_foreign_session_returns_404() {
    let server = TestServer::shared().await;
    let (own, other_user) = (server.sign_up("john").await, server.sign_up("jane").await);
    for id in [
        other_user.claim("sid").as_str(),
        "018f0000-0000-7000-8000-000000000000",
        "nope",
        "current",
        "%00",
    ] {
        revoke_session(&server, &own, id).await.is(404, "not_found");
    }
    assert_eq!(server.verify(&other_user.access_token).await.0, 204);
    server.refresh(&other_user.refresh_token).await.is(200, "");
    assert_eq!(
        query_value(
            &server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
}
