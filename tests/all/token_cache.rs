//! Tokens whose signature is remembered: nothing but the signature is taken for granted.

use reqwest::Method;
use serde_json::Value;

use crate::{
    metrics,
    test_server::{Session, TestServer, until},
};

async fn hits(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_token_cache_total{result=\"hit\"}").await
}

async fn misses(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_token_cache_total{result=\"miss\"}").await
}

/// Has the gateway remember the token, and shows that it does.
async fn make_known(server: &TestServer, session: &Session) {
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    let known = hits(server).await;
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    assert_eq!(hits(server).await, known + 1.0);
}

/// The next look at the token is a hit, and refused all the same.
async fn is_refused(server: &TestServer, session: &Session, code: &str) {
    let known = hits(server).await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, code.to_owned())
    );
    assert_eq!(hits(server).await, known + 1.0);
}

#[tokio::test]
async fn a_known_token_expires() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "10s")]).await;
    let session = server.sign_up("john").await;
    make_known(&server, &session).await;
    until("it has expired", || async {
        server.verify(&session.access_token).await.0 == 401
    })
    .await;
    is_refused(&server, &session, "token_expired").await;
}

#[tokio::test]
async fn a_known_token_is_refused_once_its_session_has_ended_here_or_elsewhere() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    for ends in [&server, &replica] {
        let session = server
            .sign_up(if std::ptr::eq(ends, &server) {
                "john"
            } else {
                "jane"
            })
            .await;
        make_known(&server, &session).await;
        ends.log_out(&session.access_token).await.is(204, "");
        is_refused(&server, &session, "token_revoked").await;
    }
}

#[tokio::test]
async fn a_known_token_is_refused_once_the_generation_has_risen() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let session = server.sign_up("john").await;
    make_known(&server, &session).await;
    let user = session.claim("sub");
    let path = format!("/users/{user}/revoke");
    server
        .with_token(Method::POST, &path, &admin.access_token, Value::Null)
        .await
        .is(204, "");
    is_refused(&server, &session, "token_revoked").await;
}

#[tokio::test]
async fn a_known_token_is_no_cookie() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    make_known(&server, &session).await;
    let cookie = format!("__Host-latchkey={}", session.access_token);
    let requested = server
        .request(Method::GET, "/auth/verify")
        .header("cookie", cookie);
    server
        .send(requested.header("x-forwarded-method", "GET"))
        .await
        .is(401, "invalid_token");
}

#[tokio::test]
async fn a_flood_of_forged_tokens_pushes_no_good_one_out() {
    let server = TestServer::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "4")]).await;
    let session = server.sign_up("john").await;
    make_known(&server, &session).await;
    let (message, signature) = session.access_token.rsplit_once('.').expect("three parts");
    let before = misses(&server).await;
    for number in 0..100 {
        // Each differs in the bits that decide, and names our key.
        let forged = format!("{message}.{number:04}{}", &signature[4..]);
        assert_eq!(
            server.verify(&forged).await,
            (401, "invalid_token".to_owned())
        );
    }
    assert_eq!(misses(&server).await, before + 100.0);
    make_known(&server, &session).await;
    assert_eq!(
        misses(&server).await,
        before + 100.0,
        "it was known all the time"
    );
}

#[tokio::test]
async fn without_room_every_signature_is_checked() {
    let server = TestServer::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "0")]).await;
    let session = server.sign_up("john").await;
    for _ in 0..3 {
        server.create_item(&session, "Book").await.is(201, "");
    }
    assert_eq!((hits(&server).await, misses(&server).await), (0.0, 3.0));
}
