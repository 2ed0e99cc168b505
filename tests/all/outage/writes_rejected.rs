//! Redis returns errors. The server treats it as unavailable and returns 503.

use deadpool_redis::redis::RedisError;
use serde_json::json;

use super::{
    OwnRedis, assert_checks_without_redis, create_revoked_session, redis_command, retry_timeouts,
    sign_up_admin, wait_until_recovered,
};
use crate::{
    proxy::Proxy,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::redis_socket,
};

/// Asserts that operations that write to Redis return 503, and that the sign-out is saved.
async fn assert_writes_are_unavailable(server: &TestServer, session: &Session) {
    let name = session.claim("username");
    server
        .refresh(&session.refresh_token)
        .await
        .is(503, "unavailable");
    server.try_sign_in(&name, PASSWORD).await.is(200, "");
    let response = server.sign_out(&session.access_token).await;
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
}

/// Asserts that the saved sign-out completes without another request.
async fn assert_sign_out_completes(server: &TestServer, session: &Session) {
    let is_revoked =
        || async { server.verify(&session.access_token).await == (401, "token_revoked".into()) };
    wait_until("the access token is rejected", is_revoked).await;
    // PostgreSQL might serve the check and contains the sign-out before Redis does.
    let is_rejected = || async {
        retry_timeouts(|| server.refresh(&session.refresh_token))
            .await
            .status
            == 401
    };
    wait_until("the refresh token is rejected", is_rejected).await;
    retry_timeouts(|| server.refresh(&session.refresh_token))
        .await
        .is(401, "invalid_refresh_token");
    wait_until("a repeat succeeds", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
    wait_until_recovered(server, &server.sign_up("jack").await).await;
}

#[tokio::test]
async fn read_only_redis_is_unavailable() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    // A follower of a primary that does not exist.
    own_redis
        .command::<String>(&["REPLICAOF", "127.0.0.1", "1"])
        .await;
    assert_writes_are_unavailable(&server, &session).await;
    own_redis
        .command::<String>(&["REPLICAOF", "NO", "ONE"])
        .await;
    assert_sign_out_completes(&server, &session).await;
}

#[tokio::test]
async fn follower_without_primary_is_unavailable() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    let (admin, revoked_session) = (
        server.admin("jane").await,
        create_revoked_session(&server).await,
    );
    own_redis
        .command::<String>(&["CONFIG", "SET", "replica-serve-stale-data", "no"])
        .await;
    own_redis
        .command::<String>(&["REPLICAOF", "127.0.0.1", "1"])
        .await;
    assert_checks_without_redis(&server, &admin, &revoked_session).await;
    assert_writes_are_unavailable(&server, &session).await;
    own_redis
        .command::<String>(&["REPLICAOF", "NO", "ONE"])
        .await;
    wait_until_recovered(&server, &admin).await;
    assert_sign_out_completes(&server, &session).await;
}

#[tokio::test]
async fn full_redis_is_unavailable() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let session = sign_up_admin(&server).await;
    own_redis
        .command::<String>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    assert_writes_are_unavailable(&server, &session).await;
    own_redis
        .command::<String>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    assert_sign_out_completes(&server, &session).await;
}

#[tokio::test]
async fn busy_redis_is_unavailable() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let (session, revoked_session) = (
        sign_up_admin(&server).await,
        create_revoked_session(&server).await,
    );
    own_redis
        .command::<String>(&["CONFIG", "SET", "busy-reply-threshold", "1"])
        .await;
    let mut connection = own_redis.connection().await;
    let script = tokio::spawn(async move {
        redis_command(&["EVAL", "while true do end", "0"])
            .query_async::<Option<String>>(&mut connection)
            .await
    });
    let mut probe = own_redis.connection().await;
    let is_busy = async || {
        redis_command(&["PING"])
            .query_async::<String>(&mut probe)
            .await
            .is_err_and(is_busy_error)
    };
    let mut is_busy = is_busy;
    while !is_busy().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_checks_without_redis(&server, &session, &revoked_session).await;
    server
        .refresh(&session.refresh_token)
        .await
        .is(503, "unavailable");
    own_redis.command::<String>(&["SCRIPT", "KILL"]).await;
    assert!(
        script.await.expect("no panic").is_err(),
        "the script is killed"
    );
    wait_until_recovered(&server, &session).await;
    retry_timeouts(|| server.refresh(&session.refresh_token))
        .await
        .is(200, "");
}

fn is_busy_error(error: RedisError) -> bool {
    error.to_string().to_lowercase().contains("busy")
}

/// After a failover, new connections lead to the new primary, but existing ones lead to the deposed
/// one.
#[tokio::test]
async fn server_reconnects_to_the_new_primary() {
    let (deposed_primary, new_primary) = (OwnRedis::start(), OwnRedis::start());
    let socket = |own_redis: &OwnRedis| redis_socket(&own_redis.redis.url());

    let proxy = Proxy::to(socket(&deposed_primary)).await;
    let server = TestServer::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let body = json!({
        "email": "unknown@example.com",
        "code": "00000-00000",
        "new_password": "correct horse 9",
    });
    let reset = || server.post("/password/reset", body.clone());
    reset().await.is(400, "invalid_code");
    deposed_primary
        .command::<String>(&["REPLICAOF", "127.0.0.1", "1"])
        .await;
    proxy.lead_to(socket(&new_primary));
    wait_until("the server uses the new primary", || async {
        let info: String = new_primary.command(&["INFO", "commandstats"]).await;
        let has_received_code = info.contains("cmdstat_evalsha");
        reset().await.status == 400 && has_received_code
    })
    .await;
}
