//! A Redis that answers, but cannot do what it is asked: that is as good as down, and no fault of
//! the caller.

use deadpool_redis::redis::RedisError;
use serde_json::json;

use super::{OwnRedis, call, checked_without_redis, in_time, signed_in, signed_out, works_again};
use crate::{
    proxy::Proxy,
    test_server::{PASSWORD, Session, TestServer, until},
    test_stores::redis_socket,
};

/// What must write to Redis is refused as unavailable.
async fn writes_are_unavailable(server: &TestServer, john: &Session) {
    let name = john.claim("username");
    server
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    server.log_in(&name, PASSWORD).await.is(200, "");
    let response = server.log_out(&john.access_token).await;
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
}

/// Afterwards the logout is finished without being asked for again.
async fn everything_works(server: &TestServer, john: &Session) {
    let ended =
        || async { server.verify(&john.access_token).await == (401, "token_revoked".into()) };
    until("the logout is finished", ended).await;
    // The check may come from PostgreSQL, which knows of the sign-out before Redis does.
    let rejected = || async { in_time(|| server.refresh(&john.refresh_token)).await.status == 401 };
    until("the refresh token is rejected", rejected).await;
    in_time(|| server.refresh(&john.refresh_token))
        .await
        .is(401, "invalid_refresh_token");
    until("a repeat is good", || async {
        server.log_out(&john.access_token).await.status == 204
    })
    .await;
    works_again(server, &server.sign_up("jack").await).await;
}

#[tokio::test]
async fn a_redis_that_may_not_write() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    // The follower of a leader that is not there.
    own.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    writes_are_unavailable(&server, &john).await;
    own.tell::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    everything_works(&server, &john).await;
}

#[tokio::test]
async fn a_redis_that_misses_its_leader() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    let (jane, out) = (server.admin("jane").await, signed_out(&server).await);
    own.tell::<String>(&["CONFIG", "SET", "replica-serve-stale-data", "no"])
        .await;
    own.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    checked_without_redis(&server, &jane, &out).await;
    writes_are_unavailable(&server, &john).await;
    own.tell::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    works_again(&server, &jane).await;
    everything_works(&server, &john).await;
}

#[tokio::test]
async fn a_redis_that_is_full() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    own.tell::<String>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    writes_are_unavailable(&server, &john).await;
    own.tell::<String>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    everything_works(&server, &john).await;
}

#[tokio::test]
async fn a_redis_that_is_busy_with_a_script_of_somebody() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let (john, out) = (signed_in(&server).await, signed_out(&server).await);
    own.tell::<String>(&["CONFIG", "SET", "busy-reply-threshold", "1"])
        .await;
    let mut other = own.connection().await;
    let script = tokio::spawn(async move {
        call(&["EVAL", "while true do end", "0"])
            .query_async::<Option<String>>(&mut other)
            .await
    });
    let mut asking = own.connection().await;
    let is_busy = async || {
        call(&["PING"])
            .query_async::<String>(&mut asking)
            .await
            .is_err_and(says_busy)
    };
    let mut is_busy = is_busy;
    while !is_busy().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    checked_without_redis(&server, &john, &out).await;
    server
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    own.tell::<String>(&["SCRIPT", "KILL"]).await;
    assert!(script.await.expect("it ended").is_err(), "it was killed");
    works_again(&server, &john).await;
    in_time(|| server.refresh(&john.refresh_token))
        .await
        .is(200, "");
}

fn says_busy(error: RedisError) -> bool {
    error.to_string().to_lowercase().contains("busy")
}

/// A failover: the name leads to another server, but whoever is connected still talks to the one
/// that was deposed.
#[tokio::test]
async fn a_redis_that_was_deposed_is_left_for_the_new_one() {
    let (old, new) = (OwnRedis::start(), OwnRedis::start());
    let socket = |own: &OwnRedis| redis_socket(&own.redis.url());

    let proxy = Proxy::to(socket(&old)).await;
    let server = TestServer::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let body = json!({
        "email": "nobody@example.com",
        "code": "00000-00000",
        "new_password": "correct horse 9",
    });
    let reset = || server.post("/password/reset", body.clone());
    reset().await.is(400, "invalid_code");
    old.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    proxy.lead_to(socket(&new));
    reset().await.is(503, "unavailable");
    until("it found the new one", || async {
        reset().await.status != 503
    })
    .await;
    reset().await.is(400, "invalid_code");
}
