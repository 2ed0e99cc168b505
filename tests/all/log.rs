//! The log: which request it was, and never a credential.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::test_server::{PASSWORD, Session, TestServer};

#[tokio::test]
async fn the_log_says_which_request_it_was() {
    let server = TestServer::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let named = |request: reqwest::RequestBuilder, id: &str| {
        let request = request
            .header("x-request-id", id)
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        server.send(request)
    };
    let body = json!({"username": "john", "password": PASSWORD});
    let session = Session::of(
        &named(
            server.request(Method::POST, "/signup").json(&body),
            "id-signup",
        )
        .await,
    );
    named(
        server.request(Method::POST, "/login").json(&body),
        "id-login",
    )
    .await
    .is(200, "");
    named(
        server
            .request(Method::POST, "/logout")
            .bearer_auth(&session.access_token),
        "id-logout",
    )
    .await
    .is(204, "");
    for (event, id) in [
        ("sign_up", "id-signup"),
        ("sign_in", "id-login"),
        ("sign_out", "id-logout"),
    ] {
        let log = server.log();
        let mut events = log
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"));
        let told = events
            .find(|told| told["event"] == event)
            .expect("it is there");
        assert_eq!(
            (&told["span"]["request_id"], &told["span"]["trace_id"]),
            (&json!(id), &json!(trace)),
            "{told}"
        );
        assert!(
            told["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{told}"
        );
    }
}

/// At its most talkative, drivers included.
#[tokio::test]
async fn the_log_never_holds_a_credential() {
    let server = TestServer::with(&[
        ("LATCHKEY_LOG", "trace"),
        ("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let second = Session::of(
        &server
            .form("/login", &[("username", "john"), ("password", PASSWORD)])
            .await,
    );
    let third = Session::of(&server.refresh(&second.refresh_token).await);
    server
        .log_in("john", "a-wrong-secret")
        .await
        .is(401, "invalid_credentials");
    server
        .refresh(&second.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    let change = json!({"current_password": PASSWORD, "new_password": "another secret 456"});
    server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change,
        )
        .await
        .is(204, "");
    server.log_out(&session.access_token).await.is(204, "");
    let log = server.log().join("\n");
    assert!(
        log.contains("sign_in_failed") && log.contains("request completed"),
        "the log is on"
    );
    let secrets = [
        PASSWORD,
        "a-wrong-secret",
        "another secret 456",
        "$argon2id",
        "lkr_",
        server.setting("LATCHKEY_SECRET"),
    ];
    for secret in secrets
        .into_iter()
        .chain([&session, &second, &third].map(|session| session.access_token.as_str()))
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}

#[tokio::test]
async fn nobody_forges_a_line_of_the_log() {
    let server = TestServer::start().await;
    let forged = [
        ("user-agent", "a\u{1b}[31m \"event\":\"x\""),
        ("x-request-id", "x\" event=\"forged"),
    ];
    let login = server
        .request(Method::POST, "/login")
        .json(&json!({"username": "a\\n{\"event\":\"forged\"}", "password": "x"}));
    let request = forged.iter().fold(login, |request, (name, value)| {
        request.header(
            *name,
            header::HeaderValue::from_bytes(value.as_bytes())
                .unwrap_or(header::HeaderValue::from_static("x")),
        )
    });
    server.send(request).await.is(401, "invalid_credentials");
    for line in server.log() {
        let event: Value = serde_json::from_str(&line).expect("each line is JSON");
        assert_ne!(event["event"], "forged");
    }
}
