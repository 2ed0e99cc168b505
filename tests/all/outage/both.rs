//! Both stores are unavailable, or one of them is unavailable during startup.

use super::{
    DEFAULT_TIMEOUTS, OwnRedis, assert_unavailable, protected_calls, sign_up_admin,
    wait_until_recovered,
};
use crate::{
    test_server::{Session, TestServer, settings, wait_until},
    test_stores::{fresh_database, own_stack},
};

fn settings_with_default_timeouts(database: &str, redis: &str) -> Vec<(String, String)> {
    let mut settings = settings(database, redis, "lk");
    settings.extend(DEFAULT_TIMEOUTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings
}

/// Returns the status code of `/health/ready`, and the states of the server, PostgreSQL, and Redis.
async fn read_readiness(server: &TestServer) -> (u16, String) {
    let response = server.readiness().await;
    (
        response.status,
        format!(
            "{} {} {}",
            response.text("status"),
            response.text("postgres"),
            response.text("redis")
        ),
    )
}

async fn wait_for_readiness(server: &TestServer, status: u16, states: &str) {
    wait_until(states, || async {
        read_readiness(server).await == (status, states.to_owned())
    })
    .await;
}

#[tokio::test]
async fn replica_is_not_ready_only_without_both_stores() {
    let (mut stack, database) = own_stack();
    let server = TestServer::run(settings_with_default_timeouts(
        &database,
        &stack.redis.url(),
    ))
    .await;
    let admin = sign_up_admin(&server).await;
    wait_for_readiness(&server, 200, "ready up up").await;
    stack.redis.kill();
    wait_for_readiness(&server, 200, "ready up down").await;
    stack.postgres.kill();
    wait_for_readiness(&server, 503, "down down down").await;
    wait_until("the lease has expired", || async {
        server.readiness().await.body["check_source"] != "memory"
    })
    .await;
    assert_eq!(server.get("/health/live").await.status, 200);
    let keys = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        keys.is(200, "").body["keys"]
            .as_array()
            .expect("keys")
            .len(),
        1
    );
    assert_unavailable(&server, &admin, &protected_calls()).await;
    stack.redis.restart().expect("Redis starts");
    wait_for_readiness(&server, 200, "ready down up").await;
    stack.postgres.restart().expect("PostgreSQL starts");
    wait_for_readiness(&server, 200, "ready up up").await;
    wait_until_recovered(&server, &admin).await;
}

#[tokio::test]
async fn startup_waits_for_postgres() {
    let (mut stack, database) = own_stack();
    stack.postgres.kill();
    let server = TestServer::launch(settings_with_default_timeouts(
        &database,
        &stack.redis.url(),
    ));
    wait_for_readiness(&server, 503, "starting down up").await;
    assert_eq!(server.get("/health/live").await.status, 200);
    let invalid_session = Session {
        access_token: "a.b.c".into(),
        refresh_token: String::new(),
    };
    assert_unavailable(&server, &invalid_session, &protected_calls()).await;
    server
        .get("/.well-known/jwks.json")
        .await
        .is(503, "unavailable");
    stack.postgres.restart().expect("PostgreSQL starts");
    wait_for_readiness(&server, 200, "ready up up").await;
    let admin = sign_up_admin(&server).await;
    wait_until_recovered(&server, &admin).await;
}

#[tokio::test]
async fn startup_waits_for_redis_and_logs_the_cause() {
    let mut own_redis = OwnRedis::start();
    own_redis.redis.kill();
    let server = TestServer::launch(settings_with_default_timeouts(
        &fresh_database().await,
        &own_redis.redis.url(),
    ));
    wait_for_readiness(&server, 503, "starting up down").await;
    // The startup is complete, and only Redis is missing.
    server.wait_for_log(&[r#""message":"started""#]).await;
    wait_for_readiness(&server, 503, "starting up down").await;
    server
        .wait_for_log(&[r#""message":"store unavailable","store":"Redis""#])
        .await;
    let body = serde_json::json!({"username": "early", "password": crate::test_server::PASSWORD});
    let session_without_redis = Session::of(server.post("/signup", body).await.is(201, ""));
    server
        .refresh(&session_without_redis.refresh_token)
        .await
        .is(503, "unavailable");
    own_redis.redis.restart().expect("Redis starts");
    wait_for_readiness(&server, 200, "ready up up").await;
    let admin = sign_up_admin(&server).await;
    wait_until_recovered(&server, &admin).await;
}
