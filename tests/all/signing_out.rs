//! Signing out: when the answer has come, no replica accepts the session again.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    gateway::{Answer, Gateway, PASSWORD, Session, until},
    stack::ask,
};

async fn log_out_by_refresh_token(gateway: &Gateway, token: &str) -> Answer {
    gateway
        .post("/logout", json!({"refresh_token": token}))
        .await
}

/// The very next request with each token is refused, on each replica.
async fn is_over(replicas: [&Gateway; 2], session: &Session) {
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
    let gateway = Gateway::start().await;
    let (replica, other) = (gateway.replica().await, gateway.sign_up("john").await);
    for round in 0..50 {
        let session = gateway.sign_in("john").await;
        // Both have seen it good, so that nothing they remember of it may count.
        assert_eq!(
            (
                gateway.verify(&session.access_token).await.0,
                replica.verify(&session.access_token).await.0
            ),
            (204, 204)
        );
        gateway.log_out(&session.access_token).await.is(204, "");
        is_over(
            if round % 2 == 0 {
                [&replica, &gateway]
            } else {
                [&gateway, &replica]
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
    let gateway = Gateway::start().await;
    let (replica, session) = (gateway.replica().await, gateway.sign_up("john").await);
    let answer = log_out_by_refresh_token(&gateway, &session.refresh_token).await;
    assert!(answer.is(204, "").bytes.is_empty());
    is_over([&replica, &gateway], &session).await;
    assert_eq!(
        ask(&gateway, "select revoked_reason from sessions").await,
        "sign_out"
    );
}

/// Some generated clients send it where there is nothing to send.
#[tokio::test]
async fn a_body_of_null_is_none() {
    let gateway = Gateway::start().await;
    let (replica, session) = (gateway.replica().await, gateway.sign_up("john").await);
    let request = |path: &str| {
        gateway
            .request(Method::POST, path)
            .bearer_auth(&session.access_token)
    };
    gateway
        .send(
            request("/logout")
                .body("null")
                .header(header::CONTENT_TYPE, "text/plain"),
        )
        .await
        .is(415, "unsupported_media_type");
    gateway
        .send(
            request("/logout")
                .body("nil")
                .header(header::CONTENT_TYPE, "application/json"),
        )
        .await
        .is(400, "invalid_request");
    gateway
        .send(request("/items").json(&Value::Null))
        .await
        .is(400, "invalid_request");
    assert_eq!(
        gateway.verify(&session.access_token).await.0,
        204,
        "nothing has ended"
    );
    gateway
        .send(request("/logout").json(&Value::Null))
        .await
        .is(204, "");
    is_over([&replica, &gateway], &session).await;
}

#[tokio::test]
async fn a_refresh_token_that_was_used_before_signs_out_too() {
    let gateway = Gateway::start().await;
    let (replica, old) = (gateway.replica().await, gateway.sign_up("john").await);
    let new = Session::of(&gateway.refresh(&old.refresh_token).await);
    log_out_by_refresh_token(&replica, &old.refresh_token)
        .await
        .is(204, "");
    is_over([&gateway, &replica], &new).await;
}

#[tokio::test]
async fn an_expired_access_token_signs_out() {
    let gateway = Gateway::with(&[("LATCHKEY_ACCESS_LIFETIME", "1s")]).await;
    let session = gateway.sign_up("john").await;
    until("it expires", || async {
        gateway.verify(&session.access_token).await == (401, "token_expired".into())
    })
    .await;
    gateway.log_out(&session.access_token).await.is(204, "");
    gateway
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn signing_out_again_is_fine() {
    let gateway = Gateway::start().await;
    let (replica, session) = (gateway.replica().await, gateway.sign_up("john").await);
    for replica in [&gateway, &gateway, &replica] {
        replica.log_out(&session.access_token).await.is(204, "");
        log_out_by_refresh_token(replica, &session.refresh_token)
            .await
            .is(204, "");
    }
    is_over([&replica, &gateway], &session).await;
    assert_eq!(
        ask(
            &gateway,
            "select count(*) from sessions where revoked_reason = 'sign_out'"
        )
        .await,
        "1"
    );
}

#[tokio::test]
async fn two_tokens_of_two_sessions_end_both() {
    let gateway = Gateway::start().await;
    let (replica, first) = (gateway.replica().await, gateway.sign_up("john").await);
    let second = gateway.sign_in("john").await;
    let body = json!({"refresh_token": second.refresh_token});
    gateway
        .with_token(Method::POST, "/logout", &first.access_token, body)
        .await
        .is(204, "");
    is_over([&replica, &gateway], &first).await;
    is_over([&replica, &gateway], &second).await;
}

#[tokio::test]
async fn a_bad_request_signs_nobody_out() {
    let gateway = Gateway::shared().await;
    let (session, stranger) = (
        gateway.sign_up("john").await,
        Gateway::shared().await.sign_up("john").await,
    );
    let Session {
        access_token,
        refresh_token,
    } = &session;
    let post = |path, token, body| gateway.with_token(Method::POST, path, token, body);
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
    gateway
        .log_out(refresh_token)
        .await
        .is(401, "invalid_token");
    gateway
        .log_out(&stranger.access_token)
        .await
        .is(401, "invalid_token");
    gateway
        .post("/logout", garbage)
        .await
        .is(401, "invalid_refresh_token");
    log_out_by_refresh_token(&gateway, access_token)
        .await
        .is(401, "invalid_refresh_token");
    log_out_by_refresh_token(&gateway, &stranger.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(gateway.verify(access_token).await.0, 204);
    gateway.refresh(refresh_token).await.is(200, "");
}

#[tokio::test]
async fn without_any_token_nobody_is_signed_out() {
    let gateway = Gateway::shared().await;
    let nothing = gateway.send(gateway.request(Method::POST, "/logout")).await;
    nothing.is(401, "unauthenticated");
    assert_eq!(
        nothing.header("www-authenticate"),
        "Bearer realm=\"latchkey\""
    );
    gateway
        .post("/logout", json!({}))
        .await
        .is(401, "unauthenticated");
    gateway
        .post("/logout", json!({"refresh_token": null}))
        .await
        .is(401, "unauthenticated");
    let basic = gateway
        .request(Method::POST, "/logout")
        .header(header::AUTHORIZATION, "Basic Og==");
    gateway.send(basic).await.is(401, "unauthenticated");
}

#[tokio::test]
async fn the_scope_may_be_named() {
    let gateway = Gateway::start().await;
    let (replica, session) = (gateway.replica().await, gateway.sign_up("john").await);
    let answer = gateway
        .with_token(
            Method::POST,
            "/logout?scope=session",
            &session.access_token,
            Value::Null,
        )
        .await;
    answer.is(204, "");
    is_over([&replica, &gateway], &session).await;
}

#[tokio::test]
async fn a_token_that_may_only_read_ends_its_own_session_alone() {
    let gateway = Gateway::shared().await;
    let john = gateway.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "items:read"),
    ];
    let narrow = Session::of(gateway.form("/login", &form).await.is(200, ""));
    for path in ["/logout?scope=others", "/logout?scope=all"] {
        let refused = gateway
            .with_token(Method::POST, path, &narrow.access_token, Value::Null)
            .await;
        assert!(
            refused
                .is(403, "insufficient_scope")
                .header("www-authenticate")
                .contains("scope=\"user:write\"")
        );
    }
    gateway.log_out(&narrow.access_token).await.is(204, "");
    assert_eq!(
        gateway.verify(&john.access_token).await.0,
        204,
        "the other one goes on"
    );
}

/// Neither the tokens from before live, nor the pair that the refresh may have brought.
#[tokio::test]
async fn a_sign_out_that_races_a_refresh_leaves_nothing_alive() {
    let gateway = Gateway::start().await;
    let replica = gateway.replica().await;
    gateway.sign_up("john").await;
    let mut refreshed = 0;
    for round in 0..100 {
        let session = gateway.sign_in("john").await;
        let (out, refresh) = if round % 2 == 0 {
            tokio::join!(
                gateway.log_out(&session.access_token),
                replica.refresh(&session.refresh_token)
            )
        } else {
            let (refresh, out) = tokio::join!(
                replica.refresh(&session.refresh_token),
                log_out_by_refresh_token(&gateway, &session.refresh_token)
            );
            (out, refresh)
        };
        out.is(204, "");
        is_over([&replica, &gateway], &session).await;
        if refresh.status == 200 {
            refreshed += 1;
            is_over([&gateway, &replica], &Session::of(&refresh)).await;
        } else {
            refresh.is(401, "invalid_refresh_token");
        }
    }
    assert!(
        refreshed > 0,
        "no refresh was ever in time: that was no race"
    );
}
