//! Redis killed, standing still, cut off.

use futures_util::future::join_all;

use super::{
    DEFAULTS, OwnRedis, checked_without_redis, checks_by, in_time, signed_in, signed_out,
    works_again,
};
use crate::{
    proxy::{Line, Proxy},
    test_server::{PASSWORD, TestServer, until},
    test_stores::connect,
};

#[tokio::test]
async fn redis_is_killed_and_comes_back() {
    let mut own = OwnRedis::start();
    let server = own.server().await;
    let (john, out) = (signed_in(&server).await, signed_out(&server).await);
    own.redis.kill();
    checked_without_redis(&server, &john, &out).await;
    own.redis.start_again().expect("it can be started");
    works_again(&server, &john).await;
}

#[tokio::test]
async fn redis_stands_still_and_goes_on() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let (john, out) = (signed_in(&server).await, signed_out(&server).await);
    own.redis.pause();
    checked_without_redis(&server, &john, &out).await;
    server
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    own.redis.resume();
    works_again(&server, &john).await;
}

#[tokio::test]
async fn the_line_to_redis_is_cut_and_mended() {
    let proxy = Proxy::to_redis().await;
    let url = proxy.redis_url();
    let server = TestServer::with(&[DEFAULTS.as_slice(), &[("REDIS_URL", &url)]].concat()).await;
    let (john, out) = (signed_in(&server).await, signed_out(&server).await);
    works_again(&server, &john).await;
    proxy.set(Line::Cut);
    checked_without_redis(&server, &john, &out).await;
    server
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    proxy.set(Line::Open);
    works_again(&server, &john).await;
    in_time(|| server.refresh(&john.refresh_token))
        .await
        .is(200, "");
}

#[tokio::test]
async fn signing_in_works_and_what_needs_redis_says_so() {
    let mut own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    let name = john.claim("username");
    own.redis.kill();
    server.log_in(&name, PASSWORD).await.is(200, "");
    server
        .log_in(&name, "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server
        .refresh(&john.refresh_token)
        .await
        .is(503, "unavailable");
    server
        .reset_password("john@example.com", "00000-00000", PASSWORD)
        .await
        .is(503, "unavailable");
    own.redis.start_again().expect("it can be started");
    until("it refreshes again", || async {
        server.refresh(&john.refresh_token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_logout_that_could_not_be_published_says_so_and_a_repeat_finishes_it() {
    let mut own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    own.redis.kill();
    let response = server.log_out(&john.access_token).await;
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
    assert!(!response.header("retry-after").is_empty());
    let database = connect(server.setting("DATABASE_URL")).await;
    let ended = "select count(*) from sessions where revoked_reason = 'sign_out'";
    assert_eq!(
        database
            .query_one(ended, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0),
        1
    );
    own.redis.start_again().expect("it can be started");
    until("the repeat is answered", || async {
        server.log_out(&john.access_token).await.status == 204
    })
    .await;
    until("it is refused", || async {
        server.verify(&john.access_token).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn two_hundred_at_once_are_all_answered_while_redis_stands_still() {
    let own = OwnRedis::start();
    let server = own.server().await;
    let john = signed_in(&server).await;
    own.redis.pause();
    until("the lease is over", || async {
        checks_by(&server, "postgres").await
    })
    .await;
    let calls = (0..200).map(|_| server.verify(&john.access_token));
    let responses = join_all(calls).await;
    assert!(
        responses
            .iter()
            .all(|response| *response == (204, String::new())),
        "{responses:?}"
    );
    assert_eq!(server.get("/health/live").await.status, 200);
    own.redis.resume();
    works_again(&server, &john).await;
}

/// Two in the place of eight: a quarter, because each replica counts for itself.
#[tokio::test]
async fn without_redis_sign_in_works_and_is_limited_more_strictly() {
    let mut own = OwnRedis::start();
    let throttle = [
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_IN", "8/1d"),
        ("REDIS_URL", &own.redis.url()),
    ];
    let server = TestServer::with(&[DEFAULTS.as_slice(), throttle.as_slice()].concat()).await;
    let john = signed_in(&server).await;
    let name = john.claim("username");
    own.redis.kill();
    for _ in 0..4 {
        server.log_in(&name, PASSWORD).await.is(200, "");
    }
    let guesses = (0..20).map(|_| server.log_in(&name, "not the right one"));
    let responses = futures_util::future::join_all(guesses).await;
    assert_eq!(
        responses
            .iter()
            .filter(|response| response.status == 401)
            .count(),
        2
    );
    for refused in responses.iter().filter(|response| response.status != 401) {
        refused.is(429, "too_many_requests");
        assert!(
            refused
                .header("ratelimit-policy")
                .starts_with("\"sign_in\";q=2;w=86400"),
            "{refused:?}"
        );
    }
    server
        .log_in(&name, PASSWORD)
        .await
        .is(429, "too_many_requests");
    own.redis.start_again().expect("it can be started");
    until("the replicas count together again", || async {
        server.log_in(&name, PASSWORD).await.status == 200
    })
    .await;
}
