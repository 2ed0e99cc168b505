//! Signing out: when the answer has come, no replica accepts the session again.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::ask,
};

async fn log_out_by_refresh_token(server: &TestServer, token: &str) -> TestResponse {
    server
        .post("/logout", json!({"refresh_token": token}))
        .await
}

/// The very next request with each token is refused, on each replica.
async fn is_over(replicas: [&TestServer; 2], session: &Session) {
    for replica in replicas {
        replica.rejects(session).await;
        let user = replica
            .with_token(Method::GET, "/user", &session.access_token, Value::Null)
            .await;
        user.is(401, "token_revoked");
    }
}

#[tokio::test]
async fn after_signing_out_the_very_next_request_is_refused_everywhere() {
    let server = TestServer::start().await;
    let (replica, other) = (server.replica().await, server.sign_up("john").await);
    for round in 0..50 {
        let session = server.sign_in("john").await;
        // Both have seen it good, so that nothing they remember of it may count.
        assert_eq!(
            (
                server.verify(&session.access_token).await.0,
                replica.verify(&session.access_token).await.0
            ),
            (204, 204)
        );
        server.log_out(&session.access_token).await.is(204, "");
        is_over(
            if round % 2 == 0 {
                [&replica, &server]
            } else {
                [&server, &replica]
            },
            &session,
        )
        .await;
    }
    assert_eq!(
        replica.verify(&other.access_token).await.0,
        204,
        "other sessions are untouched"
    );
    replica.refresh(&other.refresh_token).await.is(200, "");
}

#[tokio::test]
async fn a_refresh_token_signs_out_as_well() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let response = log_out_by_refresh_token(&server, &session.refresh_token).await;
    assert!(response.is(204, "").bytes.is_empty());
    is_over([&replica, &server], &session).await;
    assert_eq!(
        ask(&server, "select revoked_reason from sessions").await,
        "sign_out"
    );
}

/// Some generated clients send it where there is nothing to send.
#[tokio::test]
async fn a_body_of_null_is_none() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let request = |path: &str| {
        server
            .request(Method::POST, path)
            .bearer_auth(&session.access_token)
    };
    server
        .send(
            request("/logout")
                .body("null")
                .header(header::CONTENT_TYPE, "text/plain"),
        )
        .await
        .is(415, "unsupported_media_type");
    server
        .send(
            request("/logout")
                .body("nil")
                .header(header::CONTENT_TYPE, "application/json"),
        )
        .await
        .is(400, "invalid_request");
    server
        .send(request("/items").json(&Value::Null))
        .await
        .is(400, "invalid_request");
    assert_eq!(
        server.verify(&session.access_token).await.0,
        204,
        "nothing has ended"
    );
    server
        .send(request("/logout").json(&Value::Null))
        .await
        .is(204, "");
    is_over([&replica, &server], &session).await;
}

#[tokio::test]
async fn a_refresh_token_that_was_used_before_signs_out_too() {
    let server = TestServer::start().await;
    let (replica, old) = (server.replica().await, server.sign_up("john").await);
    let new = Session::of(&server.refresh(&old.refresh_token).await);
    log_out_by_refresh_token(&replica, &old.refresh_token)
        .await
        .is(204, "");
    is_over([&server, &replica], &new).await;
}

#[tokio::test]
async fn an_expired_access_token_signs_out() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "1s")]).await;
    let session = server.sign_up("john").await;
    until("it expires", || async {
        server.verify(&session.access_token).await == (401, "token_expired".into())
    })
    .await;
    server.log_out(&session.access_token).await.is(204, "");
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn signing_out_again_is_fine() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    for replica in [&server, &server, &replica] {
        replica.log_out(&session.access_token).await.is(204, "");
        log_out_by_refresh_token(replica, &session.refresh_token)
            .await
            .is(204, "");
    }
    is_over([&replica, &server], &session).await;
    assert_eq!(
        ask(
            &server,
            "select count(*) from sessions where revoked_reason = 'sign_out'"
        )
        .await,
        "1"
    );
}

#[tokio::test]
async fn two_tokens_of_two_sessions_end_both() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let second = server.sign_in("john").await;
    let body = json!({"refresh_token": second.refresh_token});
    server
        .with_token(Method::POST, "/logout", &first.access_token, body)
        .await
        .is(204, "");
    is_over([&replica, &server], &first).await;
    is_over([&replica, &server], &second).await;
}

#[tokio::test]
async fn a_bad_request_signs_nobody_out() {
    let server = TestServer::shared().await;
    let (session, stranger) = (
        server.sign_up("john").await,
        TestServer::shared().await.sign_up("john").await,
    );
    let Session {
        access_token,
        refresh_token,
    } = &session;
    let post = |path, token, body| server.with_token(Method::POST, path, token, body);
    let garbage = json!({"refresh_token": "garbage"});
    post("/logout?scope=galaxy", access_token, Value::Null)
        .await
        .is(400, "invalid_request");
    post(
        "/logout?scope=session&scope=session",
        access_token,
        Value::Null,
    )
    .await
    .is(400, "invalid_request");
    post("/logout", access_token, garbage.clone())
        .await
        .is(401, "invalid_refresh_token");
    post(
        "/logout",
        "garbage",
        json!({"refresh_token": refresh_token}),
    )
    .await
    .is(401, "invalid_token");
    server.log_out(refresh_token).await.is(401, "invalid_token");
    server
        .log_out(&stranger.access_token)
        .await
        .is(401, "invalid_token");
    server
        .post("/logout", garbage)
        .await
        .is(401, "invalid_refresh_token");
    log_out_by_refresh_token(&server, access_token)
        .await
        .is(401, "invalid_refresh_token");
    log_out_by_refresh_token(&server, &stranger.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(server.verify(access_token).await.0, 204);
    server.refresh(refresh_token).await.is(200, "");
}

#[tokio::test]
async fn without_any_token_nobody_is_signed_out() {
    let server = TestServer::shared().await;
    let nothing = server.send(server.request(Method::POST, "/logout")).await;
    nothing.is(401, "unauthenticated");
    assert_eq!(
        nothing.header("www-authenticate"),
        "Bearer realm=\"latchkey\""
    );
    server
        .post("/logout", json!({}))
        .await
        .is(401, "unauthenticated");
    server
        .post("/logout", json!({"refresh_token": null}))
        .await
        .is(401, "unauthenticated");
    let basic = server
        .request(Method::POST, "/logout")
        .header(header::AUTHORIZATION, "Basic Og==");
    server.send(basic).await.is(401, "unauthenticated");
}

#[tokio::test]
async fn the_scope_may_be_named() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let response = server
        .with_token(
            Method::POST,
            "/logout?scope=session",
            &session.access_token,
            Value::Null,
        )
        .await;
    response.is(204, "");
    is_over([&replica, &server], &session).await;
}

#[tokio::test]
async fn a_token_that_may_only_read_ends_its_own_session_alone() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "items:read"),
    ];
    let narrow = Session::of(server.form("/login", &form).await.is(200, ""));
    for path in ["/logout?scope=others", "/logout?scope=all"] {
        let refused = server
            .with_token(Method::POST, path, &narrow.access_token, Value::Null)
            .await;
        assert!(
            refused
                .is(403, "insufficient_scope")
                .header("www-authenticate")
                .contains("scope=\"user:write\"")
        );
    }
    server.log_out(&narrow.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&john.access_token).await.0,
        204,
        "the other one goes on"
    );
}

/// Neither the tokens from before live, nor the pair that the refresh may have brought.
#[tokio::test]
async fn a_sign_out_that_races_a_refresh_leaves_nothing_alive() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    server.sign_up("john").await;
    let mut refreshed = 0;
    for round in 0..100 {
        let session = server.sign_in("john").await;
        let (out, refresh) = if round % 2 == 0 {
            tokio::join!(
                server.log_out(&session.access_token),
                replica.refresh(&session.refresh_token)
            )
        } else {
            let (refresh, out) = tokio::join!(
                replica.refresh(&session.refresh_token),
                log_out_by_refresh_token(&server, &session.refresh_token)
            );
            (out, refresh)
        };
        out.is(204, "");
        is_over([&replica, &server], &session).await;
        if refresh.status == 200 {
            refreshed += 1;
            is_over([&server, &replica], &Session::of(&refresh)).await;
        } else {
            refresh.is(401, "invalid_refresh_token");
        }
    }
    assert!(
        refreshed > 0,
        "no refresh was ever in time: that was no race"
    );
}
