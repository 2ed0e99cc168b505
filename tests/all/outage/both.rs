//! Neither store answers, or one does not when a gateway starts.

use super::{DEFAULTS, OwnRedis, protected, signed_in, slowest_refusal, works_again};
use crate::{
    test_server::{Session, TestServer, settings, until},
    test_stores::{fresh_database, own_stack},
};

fn with_defaults(database: &str, redis: &str) -> Vec<(String, String)> {
    let mut settings = settings(database, redis, "lk");
    settings.extend(DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings
}

/// Status of `/health/ready`, and what it says of itself, of PostgreSQL and of Redis.
async fn ready(server: &TestServer) -> (u16, String) {
    let response = server.get("/health/ready").await;
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

async fn until_ready_says(server: &TestServer, status: u16, states: &str) {
    until(states, || async {
        ready(server).await == (status, states.to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_replica_leaves_the_balancer_only_when_both_stores_are_gone() {
    let (mut stack, database) = own_stack();
    let server = TestServer::run(with_defaults(&database, &stack.redis.url())).await;
    let john = signed_in(&server).await;
    until_ready_says(&server, 200, "ready up up").await;
    stack.redis.kill();
    until_ready_says(&server, 200, "ready up down").await;
    stack.postgres.kill();
    until_ready_says(&server, 503, "down down down").await;
    assert_eq!(server.get("/health/live").await.status, 200);
    let keys = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        keys.is(200, "").body["keys"]
            .as_array()
            .expect("keys")
            .len(),
        1
    );
    slowest_refusal(&server, &john, &protected()).await;
    stack.redis.start_again().expect("it can be started");
    until_ready_says(&server, 200, "ready down up").await;
    stack.postgres.start_again().expect("it can be started");
    until_ready_says(&server, 200, "ready up up").await;
    works_again(&server, &john).await;
}

#[tokio::test]
async fn started_without_postgres_it_waits_for_it() {
    let (mut stack, database) = own_stack();
    stack.postgres.kill();
    let server = TestServer::launch(with_defaults(&database, &stack.redis.url()));
    until_ready_says(&server, 503, "starting down up").await;
    assert_eq!(server.get("/health/live").await.status, 200);
    let nobody = Session {
        access_token: "a.b.c".into(),
        refresh_token: String::new(),
    };
    slowest_refusal(&server, &nobody, &protected()).await;
    server
        .get("/.well-known/jwks.json")
        .await
        .is(503, "unavailable");
    stack.postgres.start_again().expect("it can be started");
    until_ready_says(&server, 200, "ready up up").await;
    let john = signed_in(&server).await;
    works_again(&server, &john).await;
}

#[tokio::test]
async fn started_without_redis_it_waits_for_it_and_says_why() {
    let mut own = OwnRedis::start();
    own.redis.kill();
    let server = TestServer::launch(with_defaults(&fresh_database().await, &own.redis.url()));
    until_ready_says(&server, 503, "starting up down").await;
    // Prepared, and still not ready: only Redis is missing.
    server.until_logged(&[r#""message":"started""#]).await;
    until_ready_says(&server, 503, "starting up down").await;
    server
        .until_logged(&[r#""message":"store unavailable","store":"Redis""#])
        .await;
    let body = serde_json::json!({"username": "early", "password": crate::test_server::PASSWORD});
    let early = Session::of(server.post("/signup", body).await.is(201, ""));
    server
        .refresh(&early.refresh_token)
        .await
        .is(503, "unavailable");
    own.redis.start_again().expect("it can be started");
    until_ready_says(&server, 200, "ready up up").await;
    let john = signed_in(&server).await;
    works_again(&server, &john).await;
}
