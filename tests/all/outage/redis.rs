//! Redis is killed, paused, or unreachable.

use futures_util::future::join_all;

use super::{
    DEFAULT_TIMEOUTS, OwnRedis, assert_checks_without_redis, create_revoked_session,
    is_check_source, retry_timeouts, sign_up_admin, wait_until_recovered,
};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, TestServer, wait_until},
    test_stores::connect,
};

#[tokio::test]
async fn server_recovers_after_redis_is_killed() {
    let mut own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let (session, revoked_session) = (
        sign_up_admin(&server).await,
        create_revoked_session(&server).await,
    );
    own_redis.redis.kill();
    assert_checks_without_redis(&server, &session, &revoked_session).await;
    own_redis.redis.restart().expect("Redis starts");
    wait_until_recovered(&server, &session).await;
}

#[tokio::test]
async fn server_recovers_after_redis_is_paused() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let (session, revoked_session) = (
        sign_up_admin(&server).await,
        create_revoked_session(&server).await,
    );
    own_redis.redis.pause();
    assert_checks_without_redis(&server, &session, &revoked_session).await;
    server
        .refresh(&session.refresh_token)
        .await
        .is(503, "unavailable");
    own_redis.redis.resume();
    wait_until_recovered(&server, &session).await;
}

#[tokio::test]
async fn server_recovers_after_redis_is_unreachable() {
    let proxy = Proxy::to_redis().await;
    let url = proxy.redis_url();
    let server =
        TestServer::with(&[DEFAULT_TIMEOUTS.as_slice(), &[("REDIS_URL", &url)]].concat()).await;
    let (session, revoked_session) = (
        sign_up_admin(&server).await,
        create_revoked_session(&server).await,
    );
    wait_until_recovered(&server, &session).await;
    proxy.set(ConnectionState::Cut);
    assert_checks_without_redis(&server, &session, &revoked_session).await;
    server
        .refresh(&session.refresh_token)
        .await
        .is(503, "unavailable");
    proxy.set(ConnectionState::Open);
    wait_until_recovered(&server, &session).await;
    retry_timeouts(|| server.refresh(&session.refresh_token))
        .await
        .is(200, "");
}

#[tokio::test]
async fn sign_in_works_without_redis_and_refresh_returns_503() {
    let mut own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    let name = session.claim("username");
    own_redis.redis.kill();
    server.try_sign_in(&name, PASSWORD).await.is(200, "");
    server
        .try_sign_in(&name, "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server
        .refresh(&session.refresh_token)
        .await
        .is(503, "unavailable");
    server
        .reset_password("john@example.com", "00000-00000", PASSWORD)
        .await
        .is(503, "unavailable");
    own_redis.redis.restart().expect("Redis starts");
    wait_until("the refresh succeeds", || async {
        server.refresh(&session.refresh_token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn unpublished_sign_out_returns_503_and_completes_later() {
    let mut own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    own_redis.redis.kill();
    let response = server.sign_out(&session.access_token).await;
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
    assert!(!response.header("retry-after").is_empty());
    let database = connect(server.setting("DATABASE_URL")).await;
    let revoked = "select count(*) from sessions where revoked_reason = 'sign_out'";
    assert_eq!(
        database
            .query_one(revoked, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0),
        1
    );
    own_redis.redis.restart().expect("Redis starts");
    wait_until("the repeat succeeds", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
    wait_until("the access token is rejected", || async {
        server.verify(&session.access_token).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn concurrent_checks_succeed_while_redis_is_paused() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    own_redis.redis.pause();
    wait_until("the lease is expired", || async {
        is_check_source(&server, "postgres").await
    })
    .await;
    let calls = (0..200).map(|_| server.verify(&session.access_token));
    let responses = join_all(calls).await;
    assert!(
        responses
            .iter()
            .all(|response| *response == (204, String::new())),
        "{responses:?}"
    );
    assert_eq!(server.get("/health/live").await.status, 200);
    own_redis.redis.resume();
    wait_until_recovered(&server, &session).await;
}

/// Without Redis, each replica counts separately and allows a quarter of the limit: two attempts
/// instead of eight.
#[tokio::test]
async fn sign_in_limit_is_stricter_without_redis() {
    let mut own_redis = OwnRedis::start();
    let settings = [
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_IN", "8/1d"),
        ("REDIS_URL", &own_redis.redis.url()),
    ];
    let server =
        TestServer::with(&[DEFAULT_TIMEOUTS.as_slice(), settings.as_slice()].concat()).await;
    let session = sign_up_admin(&server).await;
    let name = session.claim("username");
    own_redis.redis.kill();
    for _ in 0..4 {
        server.try_sign_in(&name, PASSWORD).await.is(200, "");
    }
    let guesses = (0..20).map(|_| server.try_sign_in(&name, "not the right one"));
    let responses = futures_util::future::join_all(guesses).await;
    assert_eq!(
        responses
            .iter()
            .filter(|response| response.status == 401)
            .count(),
        2
    );
    for rejected in responses.iter().filter(|response| response.status != 401) {
        rejected.is(429, "too_many_requests");
        assert!(
            rejected
                .header("ratelimit-policy")
                .starts_with("\"sign_in\";q=2;w=86400"),
            "{rejected:?}"
        );
    }
    server
        .try_sign_in(&name, PASSWORD)
        .await
        .is(429, "too_many_requests");
    own_redis.redis.restart().expect("Redis starts");
    wait_until("the limit is shared again", || async {
        server.try_sign_in(&name, PASSWORD).await.status == 200
    })
    .await;
}
