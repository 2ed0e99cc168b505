//! Tokens whose signature is remembered: nothing but the signature is taken for granted.

use reqwest::Method;
use serde_json::Value;

use crate::{
    gateway::{Gateway, Session, until},
    metrics,
};

async fn hits(gateway: &Gateway) -> f64 {
    metrics::value(gateway, "latchkey_token_cache_total{result=\"hit\"}").await
}

async fn misses(gateway: &Gateway) -> f64 {
    metrics::value(gateway, "latchkey_token_cache_total{result=\"miss\"}").await
}

/// Has the gateway remember the token, and shows that it does.
async fn make_known(gateway: &Gateway, session: &Session) {
    assert_eq!(gateway.verify(&session.access_token).await.0, 204);
    let known = hits(gateway).await;
    assert_eq!(gateway.verify(&session.access_token).await.0, 204);
    assert_eq!(hits(gateway).await, known + 1.0);
}

/// The next look at the token is a hit, and refused all the same.
async fn is_refused(gateway: &Gateway, session: &Session, code: &str) {
    let known = hits(gateway).await;
    assert_eq!(
        gateway.verify(&session.access_token).await,
        (401, code.to_owned())
    );
    assert_eq!(hits(gateway).await, known + 1.0);
}

#[tokio::test]
async fn a_known_token_expires() {
    let gateway = Gateway::with(&[("LATCHKEY_ACCESS_LIFETIME", "10s")]).await;
    let session = gateway.sign_up("john").await;
    make_known(&gateway, &session).await;
    until("it has expired", || async {
        gateway.verify(&session.access_token).await.0 == 401
    })
    .await;
    is_refused(&gateway, &session, "token_expired").await;
}

#[tokio::test]
async fn a_known_token_is_refused_once_its_session_has_ended_here_or_elsewhere() {
    let gateway = Gateway::start().await;
    let replica = gateway.replica().await;
    for ends in [&gateway, &replica] {
        let session = gateway
            .sign_up(if std::ptr::eq(ends, &gateway) {
                "john"
            } else {
                "jane"
            })
            .await;
        make_known(&gateway, &session).await;
        ends.log_out(&session.access_token).await.is(204, "");
        is_refused(&gateway, &session, "token_revoked").await;
    }
}

#[tokio::test]
async fn a_known_token_is_refused_once_the_generation_has_risen() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin("root").await;
    let session = gateway.sign_up("john").await;
    make_known(&gateway, &session).await;
    let user = session.claim("sub");
    let path = format!("/users/{user}/revoke");
    gateway
        .with_token(Method::POST, &path, &admin.access_token, Value::Null)
        .await
        .is(204, "");
    is_refused(&gateway, &session, "token_revoked").await;
}

#[tokio::test]
async fn a_known_token_is_no_cookie() {
    let gateway = Gateway::start().await;
    let session = gateway.sign_up("john").await;
    make_known(&gateway, &session).await;
    let cookie = format!("__Host-latchkey={}", session.access_token);
    let asked = gateway
        .request(Method::GET, "/auth/verify")
        .header("cookie", cookie);
    gateway
        .send(asked.header("x-forwarded-method", "GET"))
        .await
        .is(401, "invalid_token");
}

#[tokio::test]
async fn a_flood_of_forged_tokens_pushes_no_good_one_out() {
    let gateway = Gateway::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "4")]).await;
    let session = gateway.sign_up("john").await;
    make_known(&gateway, &session).await;
    let (message, signature) = session.access_token.rsplit_once('.').expect("three parts");
    let before = misses(&gateway).await;
    for number in 0..100 {
        // Each differs in the bits that decide, and names our key.
        let forged = format!("{message}.{number:04}{}", &signature[4..]);
        assert_eq!(
            gateway.verify(&forged).await,
            (401, "invalid_token".to_owned())
        );
    }
    assert_eq!(misses(&gateway).await, before + 100.0);
    make_known(&gateway, &session).await;
    assert_eq!(
        misses(&gateway).await,
        before + 100.0,
        "it was known all the time"
    );
}

#[tokio::test]
async fn without_room_every_signature_is_checked() {
    let gateway = Gateway::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "0")]).await;
    let session = gateway.sign_up("john").await;
    for _ in 0..3 {
        gateway.create_item(&session, "Book").await.is(201, "");
    }
    assert_eq!((hits(&gateway).await, misses(&gateway).await), (0.0, 3.0));
}
