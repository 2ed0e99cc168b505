//! What is on record of a token, and what is known of it while the record cannot be asked.

use futures_util::future::join_all;
use latchkey_domain::opaque_token::OpaqueTokenKind;
use serde_json::Value;
use uuid::Uuid;

use super::{delete, get, make};
use crate::{
    leaks,
    oauth::forged,
    test_server::{TestServer, until},
    test_stores::{Held, ask, execute, own_stack},
};

/// Right in form, and nobody's.
fn unknown() -> String {
    forged(
        OpaqueTokenKind::PersonalAccessToken,
        &Uuid::now_v7().to_string(),
    )
}

/// Of a token that there is, whoever knows its id alone can do nothing, and learns nothing.
#[tokio::test]
async fn its_id_opens_and_ends_nothing() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (id, token) = make(&server, &john, "user:read").await;
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
async fn no_byte_of_it_is_kept() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (id, token) = make(&server, &john, "user:read").await;
    get(&server, &token, "/user").await.is(200, "");
    get(&server, &token, "/users").await.is(403, "forbidden");
    assert_eq!(server.verify(&format!("{token}A")).await.0, 401);
    server
        .form("/oauth/revoke", &[("token", &format!("{token}A"))])
        .await
        .is(200, "");
    leaks::only_its_hash_is_kept(&server, &token).await;
    delete(&server, &john.access_token, &id).await.is(204, "");
    assert_eq!(
        ask(&server, "select count(*) from personal_access_tokens").await,
        "0"
    );
}

/// Once in ten minutes for each replica is often enough, and no check waits for more.
#[tokio::test]
async fn its_use_is_told_when_it_is_read() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read").await;
    let used = async || {
        get(&server, &john.access_token, "/user/tokens").await.body["data"][0]["last_used_at"]
            .clone()
    };
    assert_eq!(used().await, Value::Null);
    assert_eq!(
        join_all((0..20).map(|_| server.verify(&token))).await,
        vec![(204, String::new()); 20]
    );
    until("it is told", || async { used().await.is_string() }).await;
    let first = used().await;
    assert_eq!(server.verify(&token).await.0, 204);
    assert_eq!(used().await, first);
    execute(
        &server,
        "update personal_access_tokens set last_used_at = now() - interval '10 minutes'",
    )
    .await;
    let replica = server.replica().await;
    assert_eq!(replica.verify(&token).await.0, 204);
    until("it is told again", || async {
        used().await.as_str() > first.as_str()
    })
    .await;
}

/// Whoever holds the row holds up the news of its use, and nobody who checks it.
#[tokio::test]
async fn a_check_waits_for_no_row() {
    let server = TestServer::with(&[("LATCHKEY_DATABASE_TIMEOUT", "30s")]).await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read").await;
    let held = Held::rows(&server, "select from personal_access_tokens").await;
    assert_eq!(server.verify(&token).await.0, 204);
    held.until_somebody_waits().await;
    held.release().await;
}

#[tokio::test]
async fn without_the_record_those_that_were_read_go_on_and_others_are_503() {
    let (mut stack, database) = own_stack();
    let redis = stack.redis.url();
    let server = TestServer::with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
    ])
    .await;
    let john = server.sign_up("john").await;
    let (_, known) = make(&server, &john, "user:read").await;
    let (id, deleted) = make(&server, &john, "user:read").await;
    let (_, unread) = make(&server, &john, "user:read").await;
    for token in [&known, &deleted] {
        assert_eq!(server.verify(token).await.0, 204);
    }
    delete(&server, &john.access_token, &id).await.is(204, "");
    stack.postgres.kill();
    for _ in 0..3 {
        assert_eq!(server.verify(&known).await.0, 204);
        assert_eq!(server.verify(&deleted).await, (401, "token_revoked".into()));
        for token in [&unread, &unknown()] {
            assert_eq!(server.verify(token).await, (503, "unavailable".into()));
        }
        assert_eq!(
            server.verify("lkp_garbage").await,
            (401, "invalid_token".into())
        );
    }
    stack.postgres.start_again().expect("it can be started");
    until("it is read", || async {
        server.verify(&unread).await.0 == 204
    })
    .await;
}

#[tokio::test]
async fn without_redis_the_record_is_asked() {
    let (mut stack, database) = own_stack();
    let redis = stack.redis.url();
    let server = TestServer::with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
    ])
    .await;
    let john = server.sign_up("john").await;
    let (id, token) = make(&server, &john, "user:read").await;
    let (_, stays) = make(&server, &john, "user:read").await;
    assert_eq!(
        (server.verify(&token).await.0, server.verify(&stays).await.0),
        (204, 204)
    );
    stack.redis.kill();
    let by_record =
        || async { server.get("/health/ready").await.text("check_source") == "postgres" };
    until("the lease is over", by_record).await;
    assert_eq!(server.verify(&token).await.0, 204);
    delete(&server, &john.access_token, &id)
        .await
        .is(503, "unavailable");
    // On record it is gone, and that is who answers.
    assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
    assert_eq!(server.verify(&stays).await.0, 204);
    stack.redis.start_again().expect("it can be started");
    until("it is deleted", || async {
        delete(&server, &john.access_token, &id).await.status == 204
    })
    .await;
    assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
}

/// Each costs a look at the record, which they share; nothing of them is remembered, so that no
/// good one is forgotten.
#[tokio::test]
async fn a_flood_of_unknown_ones_pushes_no_good_one_out() {
    let (mut stack, database) = own_stack();
    let server = TestServer::with(&[("DATABASE_URL", &database)]).await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read").await;
    assert_eq!(server.verify(&token).await.0, 204);
    for _ in 0..10 {
        let flood: Vec<_> = (0..200).map(|_| unknown()).collect();
        let (verdicts, good) = tokio::join!(
            join_all(flood.iter().map(|token| server.verify(token))),
            server.verify(&token)
        );
        assert_eq!(good.0, 204);
        for verdict in verdicts {
            assert_eq!(verdict, (401, "invalid_token".into()));
        }
    }
    // Nobody can be asked any more, and it is known.
    stack.postgres.kill();
    assert_eq!(server.verify(&token).await.0, 204);
}
