//! The cache of verified signatures: for a cached token, only the signature check is skipped.

use reqwest::Method;
use serde_json::Value;

use crate::{
    metrics,
    test_server::{Session, TestServer, wait_until},
};

async fn read_hits(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_token_cache_total{result=\"hit\"}").await
}

async fn read_misses(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_token_cache_total{result=\"miss\"}").await
}

/// Puts a token into the cache, and asserts that the next check is a hit.
async fn cache_token(server: &TestServer, session: &Session) {
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    let hits_before = read_hits(server).await;
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    assert_eq!(read_hits(server).await, hits_before + 1.0);
}

/// Asserts that the next check is a hit and that the token is rejected.
async fn assert_rejected(server: &TestServer, session: &Session, code: &str) {
    let hits_before = read_hits(server).await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, code.to_owned())
    );
    assert_eq!(read_hits(server).await, hits_before + 1.0);
}

#[tokio::test]
async fn cached_token_expires() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "10s")]).await;
    let session = server.sign_up("john").await;
    cache_token(&server, &session).await;
    wait_until("the token expires", || async {
        server.verify(&session.access_token).await.0 == 401
    })
    .await;
    assert_rejected(&server, &session, "token_expired").await;
}

#[tokio::test]
async fn cached_token_is_rejected_after_sign_out_on_any_replica() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    for revoking_server in [&server, &replica] {
        let session = server
            .sign_up(if std::ptr::eq(revoking_server, &server) {
                "john"
            } else {
                "jane"
            })
            .await;
        cache_token(&server, &session).await;
        revoking_server
            .sign_out(&session.access_token)
            .await
            .is(204, "");
        assert_rejected(&server, &session, "token_revoked").await;
    }
}

#[tokio::test]
async fn cached_token_is_rejected_after_generation_increment() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let session = server.sign_up("john").await;
    cache_token(&server, &session).await;
    let user_id = session.claim("sub");
    let path = format!("/users/{user_id}/revoke");
    server
        .with_token(Method::POST, &path, &admin.access_token, Value::Null)
        .await
        .is(204, "");
    assert_rejected(&server, &session, "token_revoked").await;
}

#[tokio::test]
async fn cached_token_is_not_accepted_as_a_cookie() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    cache_token(&server, &session).await;
    let cookie = format!("__Host-latchkey={}", session.access_token);
    let request = server
        .request(Method::GET, "/auth/verify")
        .header("cookie", cookie);
    server
        .send(request.header("x-forwarded-method", "GET"))
        .await
        .is(401, "invalid_token");
}

#[tokio::test]
async fn forged_tokens_do_not_evict_a_valid_token() {
    let server = TestServer::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "4")]).await;
    let session = server.sign_up("john").await;
    cache_token(&server, &session).await;
    let (message, signature) = session.access_token.rsplit_once('.').expect("three parts");
    let misses_before = read_misses(&server).await;
    for number in 0..100 {
        // Each token has another signature and the key ID of the server.
        let forged = format!("{message}.{number:04}{}", &signature[4..]);
        assert_eq!(
            server.verify(&forged).await,
            (401, "invalid_token".to_owned())
        );
    }
    assert_eq!(read_misses(&server).await, misses_before + 100.0);
    cache_token(&server, &session).await;
    assert_eq!(
        read_misses(&server).await,
        misses_before + 100.0,
        "the token was cached all the time"
    );
}

#[tokio::test]
async fn cache_of_size_zero_checks_every_signature() {
    let server = TestServer::with(&[("LATCHKEY_TOKEN_CACHE_SIZE", "0")]).await;
    let session = server.sign_up("john").await;
    for _ in 0..3 {
        server.create_item(&session, "Book").await.is(201, "");
    }
    assert_eq!(
        (read_hits(&server).await, read_misses(&server).await),
        (0.0, 3.0)
    );
}
