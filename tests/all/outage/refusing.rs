//! A Redis that answers, but cannot do what it is asked: that is as good as down, and no fault of
//! the caller.

use deadpool_redis::redis::RedisError;
use serde_json::json;

use super::{OwnRedis, call, checked_without_redis, in_time, signed_in, signed_out, works_again};
use crate::{
    gateway::{Gateway, PASSWORD, Session, until},
    proxy::Proxy,
    stack::redis_socket,
};

/// What must write to Redis is refused as unavailable.
async fn writes_are_unavailable(gateway: &Gateway, john: &Session) {
    let name = john.claim("username");
    gateway
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    gateway.log_in(&name, PASSWORD).await.is(200, "");
    let answer = gateway.log_out(&john.access_token).await;
    answer.is(503, "unavailable");
    assert!(
        answer.text("detail").contains("The change is saved"),
        "{}",
        answer.body
    );
}

/// Afterwards the logout is finished without being asked for again.
async fn everything_works(gateway: &Gateway, john: &Session) {
    let ended =
        || async { gateway.verify(&john.access_token).await == (401, "token_revoked".into()) };
    until("the logout is finished", ended).await;
    // The check may come from PostgreSQL, which knows of the sign-out before Redis does.
    let rejected = || async {
        in_time(|| gateway.refresh(&john.refresh_token))
            .await
            .status
            == 401
    };
    until("the refresh token is rejected", rejected).await;
    in_time(|| gateway.refresh(&john.refresh_token))
        .await
        .is(401, "invalid_refresh_token");
    until("a repeat is good", || async {
        gateway.log_out(&john.access_token).await.status == 204
    })
    .await;
    works_again(gateway, &gateway.sign_up("jack").await).await;
}

#[tokio::test]
async fn a_redis_that_may_not_write() {
    let own = OwnRedis::start();
    let gateway = own.gateway().await;
    let john = signed_in(&gateway).await;
    // The follower of a leader that is not there.
    own.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    writes_are_unavailable(&gateway, &john).await;
    own.tell::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    everything_works(&gateway, &john).await;
}

#[tokio::test]
async fn a_redis_that_misses_its_leader() {
    let own = OwnRedis::start();
    let gateway = own.gateway().await;
    let john = signed_in(&gateway).await;
    let (jane, out) = (gateway.admin("jane").await, signed_out(&gateway).await);
    own.tell::<String>(&["CONFIG", "SET", "replica-serve-stale-data", "no"])
        .await;
    own.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    checked_without_redis(&gateway, &jane, &out).await;
    writes_are_unavailable(&gateway, &john).await;
    own.tell::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    works_again(&gateway, &jane).await;
    everything_works(&gateway, &john).await;
}

#[tokio::test]
async fn a_redis_that_is_full() {
    let own = OwnRedis::start();
    let gateway = own.gateway().await;
    let john = signed_in(&gateway).await;
    own.tell::<String>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    writes_are_unavailable(&gateway, &john).await;
    own.tell::<String>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    everything_works(&gateway, &john).await;
}

#[tokio::test]
async fn a_redis_that_is_busy_with_a_script_of_somebody() {
    let own = OwnRedis::start();
    let gateway = own.gateway().await;
    let (john, out) = (signed_in(&gateway).await, signed_out(&gateway).await);
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
    checked_without_redis(&gateway, &john, &out).await;
    gateway
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    own.tell::<String>(&["SCRIPT", "KILL"]).await;
    assert!(script.await.expect("it ended").is_err(), "it was killed");
    works_again(&gateway, &john).await;
    in_time(|| gateway.refresh(&john.refresh_token))
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
    let gateway = Gateway::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let body = json!({
        "email": "nobody@example.com",
        "code": "00000-00000",
        "new_password": "correct horse 9",
    });
    let reset = || gateway.post("/password/reset", body.clone());
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
