//! My sessions: listed in words, and ended one by one.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer},
    test_stores::{ask, execute},
};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

async fn list(server: &TestServer, session: &Session, query: &str) -> TestResponse {
    server
        .with_token(
            Method::GET,
            &format!("/sessions{query}"),
            &session.access_token,
            Value::Null,
        )
        .await
}

async fn end(server: &TestServer, session: &Session, id: &str) -> TestResponse {
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
async fn sessions_are_listed_in_words() {
    let server = TestServer::shared().await;
    let first = server.sign_up("john").await;
    let request = server
        .request(Method::POST, "/login")
        .header(header::USER_AGENT, FIREFOX);
    let second = server
        .send(request.json(&json!({"username": "john", "password": PASSWORD})))
        .await;
    let second = Session::of(second.is(200, ""));
    let response = list(&server, &second, "").await;
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
        .map(|time| items[1][time].as_str().expect("a time").to_owned());
    let whole = |time: &String| time[.."2026-11-20T08:00:00".len()].to_owned();
    assert!(
        whole(&times[0]) <= whole(&times[1]) && whole(&times[1]) < whole(&times[2]),
        "{times:?}"
    );

    // The dashboard says the same.
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    assert_eq!(
        &dashboard.is(200, "").body["sessions"],
        &response.body["data"]
    );
}

#[tokio::test]
async fn pages_lead_through_all_of_them() {
    let server = TestServer::shared().await;
    let mut sessions = vec![server.sign_up("john").await];
    for _ in 0..4 {
        sessions.push(server.sign_in("john").await);
    }
    server.sign_up("jane").await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&server, &sessions[0], &format!("?limit=2{after}")).await;
        let items = page.is(200, "").body["data"]
            .as_array()
            .expect("a list")
            .clone();
        assert!(items.len() <= 2);
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut all: Vec<String> = sessions
        .iter()
        .map(|session| session.claim("sid"))
        .collect();
    all.sort();
    assert_eq!(seen, all);
    for bad in [
        "?limit=0",
        "?limit=101",
        "?limit=x",
        "?after=x",
        "?limit=1&limit=2",
    ] {
        list(&server, &sessions[0], bad)
            .await
            .is(400, "invalid_request");
    }
}

#[tokio::test]
async fn only_what_is_still_good_is_listed() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (out, idle) = (server.sign_in("john").await, server.sign_in("john").await);
    server.log_out(&out.access_token).await.is(204, "");
    let long_ago = "last_used_at = now() - interval '8 days'";
    execute(
        &server,
        &format!(
            "update sessions set {long_ago} where id = '{}'",
            idle.claim("sid")
        ),
    )
    .await;
    let response = list(&server, &john, "").await;
    let items = response.is(200, "").body["data"]
        .as_array()
        .expect("a list");
    assert_eq!(
        (items.len(), &items[0]["id"]),
        (1, &json!(john.claim("sid")))
    );
}

#[tokio::test]
async fn an_ended_session_is_refused_everywhere_and_ending_it_again_is_fine() {
    let server = TestServer::start().await;
    let (replica, john) = (server.replica().await, server.sign_up("john").await);
    let lost = server.sign_in("john").await;
    assert_eq!(replica.verify(&lost.access_token).await.0, 204);
    for replica in [&server, &server, &replica] {
        assert!(
            end(replica, &john, &lost.claim("sid"))
                .await
                .is(204, "")
                .bytes
                .is_empty()
        );
    }
    for replica in [&replica, &server] {
        replica.rejects(&lost).await;
        assert_eq!(replica.verify(&john.access_token).await.0, 204);
    }
    assert_eq!(
        ask(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "session_revoked"
    );
    // One's own as well.
    end(&server, &john, &john.claim("sid")).await.is(204, "");
    assert_eq!(
        replica.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn what_is_nobodys_or_somebody_elses_is_not_found() {
    let server = TestServer::shared().await;
    let (john, jane) = (server.sign_up("john").await, server.sign_up("jane").await);
    for id in [
        jane.claim("sid").as_str(),
        "018f0000-0000-7000-8000-000000000000",
        "nope",
        "current",
        "%00",
    ] {
        end(&server, &john, id).await.is(404, "not_found");
    }
    assert_eq!(server.verify(&jane.access_token).await.0, 204);
    server.refresh(&jane.refresh_token).await.is(200, "");
    assert_eq!(
        ask(
            &server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
}
