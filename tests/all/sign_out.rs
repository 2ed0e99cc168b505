//! Tests of sign-out: after the response, every replica rejects the session.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::query_value,
};

async fn sign_out_with_refresh_token(server: &TestServer, token: &str) -> TestResponse {
    server
        .post("/logout", json!({"refresh_token": token}))
        .await
}

/// Asserts that each replica rejects each token of the session at the first use.
async fn assert_revoked(replicas: [&TestServer; 2], session: &Session) {
    for replica in replicas {
        replica.rejects(session).await;
        let user = replica
            .with_token(Method::GET, "/user", &session.access_token, Value::Null)
            .await;
        user.is(401, "token_revoked");
    }
}

#[tokio::test]
async fn sign_out_is_enforced_on_every_replica() {
    let server = TestServer::start().await;
    let (replica, other_session) = (server.replica().await, server.sign_up("john").await);
    for round in 0..50 {
        let session = server.sign_in("john").await;
        // Both replicas have cached the valid token, so the test also covers the cache.
        assert_eq!(
            (
                server.verify(&session.access_token).await.0,
                replica.verify(&session.access_token).await.0
            ),
            (204, 204)
        );
        server.sign_out(&session.access_token).await.is(204, "");
        assert_revoked(
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
        replica.verify(&other_session.access_token).await.0,
        204,
        "other sessions stay valid"
    );
    replica
        .refresh(&other_session.refresh_token)
        .await
        .is(200, "");
}

#[tokio::test]
async fn refresh_token_signs_out() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let response = sign_out_with_refresh_token(&server, &session.refresh_token).await;
    assert!(response.is(204, "").bytes.is_empty());
    assert_revoked([&replica, &server], &session).await;
    assert_eq!(
        query_value(&server, "select revoked_reason from sessions").await,
        "sign_out"
    );
}

/// Some generated clients send `null` instead of an empty body.
#[tokio::test]
async fn null_body_is_accepted_as_empty_body() {
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
        "the session stays valid"
    );
    server
        .send(request("/logout").json(&Value::Null))
        .await
        .is(204, "");
    assert_revoked([&replica, &server], &session).await;
}

#[tokio::test]
async fn rotated_refresh_token_signs_out() {
    let server = TestServer::start().await;
    let (replica, previous) = (server.replica().await, server.sign_up("john").await);
    let current = Session::of(&server.refresh(&previous.refresh_token).await);
    sign_out_with_refresh_token(&replica, &previous.refresh_token)
        .await
        .is(204, "");
    assert_revoked([&server, &replica], &current).await;
}

#[tokio::test]
async fn expired_access_token_signs_out() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "1s")]).await;
    let session = server.sign_up("john").await;
    wait_until("the access token expires", || async {
        server.verify(&session.access_token).await == (401, "token_expired".into())
    })
    .await;
    server.sign_out(&session.access_token).await.is(204, "");
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn repeated_sign_out_succeeds() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    for replica in [&server, &server, &replica] {
        replica.sign_out(&session.access_token).await.is(204, "");
        sign_out_with_refresh_token(replica, &session.refresh_token)
            .await
            .is(204, "");
    }
    assert_revoked([&replica, &server], &session).await;
    assert_eq!(
        query_value(
            &server,
            "select count(*) from sessions where revoked_reason = 'sign_out'"
        )
        .await,
        "1"
    );
}

#[tokio::test]
async fn tokens_of_two_sessions_sign_out_both() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let second = server.sign_in("john").await;
    let body = json!({"refresh_token": second.refresh_token});
    server
        .with_token(Method::POST, "/logout", &first.access_token, body)
        .await
        .is(204, "");
    assert_revoked([&replica, &server], &first).await;
    assert_revoked([&replica, &server], &second).await;
}

#[tokio::test]
async fn invalid_request_revokes_no_session() {
    let server = TestServer::shared().await;
    let (session, foreign_session) = (
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
    server
        .sign_out(refresh_token)
        .await
        .is(401, "invalid_token");
    server
        .sign_out(&foreign_session.access_token)
        .await
        .is(401, "invalid_token");
    server
        .post("/logout", garbage)
        .await
        .is(401, "invalid_refresh_token");
    sign_out_with_refresh_token(&server, access_token)
        .await
        .is(401, "invalid_refresh_token");
    sign_out_with_refresh_token(&server, &foreign_session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(server.verify(access_token).await.0, 204);
    server.refresh(refresh_token).await.is(200, "");
}

#[tokio::test]
async fn sign_out_without_token_is_unauthenticated() {
    let server = TestServer::shared().await;
    let response = server.send(server.request(Method::POST, "/logout")).await;
    response.is(401, "unauthenticated");
    assert_eq!(
        response.header("www-authenticate"),
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
async fn scope_session_signs_out_own_session() {
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
    assert_revoked([&replica, &server], &session).await;
}

#[tokio::test]
async fn read_only_token_signs_out_only_its_own_session() {
    let server = TestServer::shared().await;
    let other_session = server.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "items:read"),
    ];
    let read_only = Session::of(server.form("/login", &form).await.is(200, ""));
    for path in ["/logout?scope=others", "/logout?scope=all"] {
        let response = server
            .with_token(Method::POST, path, &read_only.access_token, Value::Null)
            .await;
        assert!(
            response
                .is(403, "insufficient_scope")
                .header("www-authenticate")
                .contains("scope=\"user:write\"")
        );
    }
    server.sign_out(&read_only.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&other_session.access_token).await.0,
        204,
        "the other session stays valid"
    );
}

/// The old tokens are revoked, and so is the token pair that the concurrent refresh returned.
#[tokio::test]
async fn sign_out_racing_refresh_revokes_all_tokens() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    server.sign_up("john").await;
    let mut refreshed = 0;
    for round in 0..100 {
        let session = server.sign_in("john").await;
        let (sign_out, refresh) = if round % 2 == 0 {
            tokio::join!(
                server.sign_out(&session.access_token),
                replica.refresh(&session.refresh_token)
            )
        } else {
            let (refresh, sign_out) = tokio::join!(
                replica.refresh(&session.refresh_token),
                sign_out_with_refresh_token(&server, &session.refresh_token)
            );
            (sign_out, refresh)
        };
        sign_out.is(204, "");
        assert_revoked([&replica, &server], &session).await;
        if refresh.status == 200 {
            refreshed += 1;
            assert_revoked([&server, &replica], &Session::of(&refresh)).await;
        } else {
            refresh.is(401, "invalid_refresh_token");
        }
    }
    assert!(
        refreshed > 0,
        "no refresh succeeded, so the requests didn't overlap"
    );
}
