//! Tests of the stored data of personal access tokens, and of the token cache during outages.

use futures_util::future::join_all;
use latchkey_domain::opaque_token::OpaqueTokenKind;
use serde_json::Value;
use uuid::Uuid;

use super::{get_with_token, make, revoke_token};
use crate::{
    leaks,
    oauth::forged,
    test_server::{TestServer, wait_until},
    test_stores::{RowLock, execute, own_stack, query_value},
};

/// Returns a well-formed token that doesn't exist.
fn unknown_token() -> String {
    forged(
        OpaqueTokenKind::PersonalAccessToken,
        &Uuid::now_v7().to_string(),
    )
}

/// An attacker who knows only the ID of a token can't use the token, revoke it, or detect it.
#[tokio::test]
async fn token_id_without_secret_is_useless() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let (id, token) = make(&server, &user, "user:read").await;
    assert_eq!(server.verify(&token).await.0, 204);
    for id in [&id, &Uuid::now_v7().to_string()] {
        let forged = forged(OpaqueTokenKind::PersonalAccessToken, id);
        assert_eq!(server.verify(&forged).await, (401, "invalid_token".into()));
        server
            .form("/oauth/revoke", &[("token", &forged)])
            .await
            .is(200, "");
    }
    assert_eq!(server.verify(&token).await.0, 204);
}

#[tokio::test]
async fn only_hash_of_token_is_stored() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let (id, token) = make(&server, &user, "user:read").await;
    get_with_token(&server, &token, "/user").await.is(200, "");
    get_with_token(&server, &token, "/users")
        .await
        .is(403, "forbidden");
    assert_eq!(server.verify(&format!("{token}A")).await.0, 401);
    server
        .form("/oauth/revoke", &[("token", &format!("{token}A"))])
        .await
        .is(200, "");
    leaks::assert_only_hash_is_stored(&server, &token).await;
    revoke_token(&server, &user.access_token, &id)
        .await
        .is(204, "");
    assert_eq!(
        query_value(&server, "select count(*) from personal_access_tokens").await,
        "0"
    );
}

/// Each replica writes the last use at most every ten minutes, and checks don't wait for the write.
#[tokio::test]
async fn last_use_is_updated_every_ten_minutes() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    let last_used_at = async || {
        get_with_token(&server, &user.access_token, "/user/tokens")
            .await
            .body["data"][0]["last_used_at"]
            .clone()
    };
    assert_eq!(last_used_at().await, Value::Null);
    assert_eq!(
        join_all((0..20).map(|_| server.verify(&token))).await,
        vec![(204, String::new()); 20]
    );
    wait_until("the first use is written", || async {
        last_used_at().await.is_string()
    })
    .await;
    let first = last_used_at().await;
    assert_eq!(server.verify(&token).await.0, 204);
    assert_eq!(last_used_at().await, first);
    execute(
        &server,
        "update personal_access_tokens set last_used_at = now() - interval '10 minutes'",
    )
    .await;
    let replica = server.replica().await;
    assert_eq!(replica.verify(&token).await.0, 204);
    wait_until("the later use is written", || async {
        last_used_at().await.as_str() > first.as_str()
    })
    .await;
}

/// A row lock delays the update of the last use, but no check.
#[tokio::test]
async fn check_does_not_wait_for_row_lock() {
    let server = TestServer::with(&[("LATCHKEY_DATABASE_TIMEOUT", "30s")]).await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    let lock = RowLock::rows(&server, "select from personal_access_tokens").await;
    assert_eq!(server.verify(&token).await.0, 204);
    lock.wait_until_blocked().await;
    lock.release().await;
}

#[tokio::test]
async fn postgres_outage_allows_only_cached_tokens() {
    let (mut stack, database) = own_stack();
    let redis = stack.redis.url();
    let server = TestServer::with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
    ])
    .await;
    let user = server.sign_up("john").await;
    let (_, cached) = make(&server, &user, "user:read").await;
    let (id, revoked) = make(&server, &user, "user:read").await;
    let (_, uncached) = make(&server, &user, "user:read").await;
    for token in [&cached, &revoked] {
        assert_eq!(server.verify(token).await.0, 204);
    }
    revoke_token(&server, &user.access_token, &id)
        .await
        .is(204, "");
    stack.postgres.kill();
    for _ in 0..3 {
        assert_eq!(server.verify(&cached).await.0, 204);
        assert_eq!(server.verify(&revoked).await, (401, "token_revoked".into()));
        for token in [&uncached, &unknown_token()] {
            assert_eq!(server.verify(token).await, (503, "unavailable".into()));
        }
        assert_eq!(
            server.verify("lkp_garbage").await,
            (401, "invalid_token".into())
        );
    }
    stack.postgres.restart().expect("PostgreSQL starts");
    wait_until("the server reads the token", || async {
        server.verify(&uncached).await.0 == 204
    })
    .await;
}

#[tokio::test]
async fn redis_outage_checks_tokens_in_postgres() {
    let (mut stack, database) = own_stack();
    let redis = stack.redis.url();
    let server = TestServer::with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
    ])
    .await;
    let user = server.sign_up("john").await;
    let (id, token) = make(&server, &user, "user:read").await;
    let (_, valid) = make(&server, &user, "user:read").await;
    assert_eq!(
        (server.verify(&token).await.0, server.verify(&valid).await.0),
        (204, 204)
    );
    stack.redis.kill();
    let is_checked_in_postgres =
        || async { server.readiness().await.text("check_source") == "postgres" };
    wait_until("the lease has expired", is_checked_in_postgres).await;
    assert_eq!(server.verify(&token).await.0, 204);
    revoke_token(&server, &user.access_token, &id)
        .await
        .is(503, "unavailable");
    // PostgreSQL contains the revocation and serves the checks.
    assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
    assert_eq!(server.verify(&valid).await.0, 204);
    stack.redis.restart().expect("Redis starts");
    wait_until("the revocation succeeds", || async {
        revoke_token(&server, &user.access_token, &id).await.status == 204
    })
    .await;
    assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
}

/// Lookups of unknown tokens are batched and not cached, so that they can't evict valid tokens.
#[tokio::test]
async fn unknown_tokens_do_not_evict_cached_tokens() {
    let (mut stack, database) = own_stack();
    let server = TestServer::with(&[("DATABASE_URL", &database)]).await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    assert_eq!(server.verify(&token).await.0, 204);
    for _ in 0..10 {
        let unknown: Vec<_> = (0..200).map(|_| unknown_token()).collect();
        let (results, valid) = tokio::join!(
            join_all(unknown.iter().map(|token| server.verify(token))),
            server.verify(&token)
        );
        assert_eq!(valid.0, 204);
        for result in results {
            assert_eq!(result, (401, "invalid_token".into()));
        }
    }
    // Without PostgreSQL, only the cache can serve the check.
    stack.postgres.kill();
    assert_eq!(server.verify(&token).await.0, 204);
}
