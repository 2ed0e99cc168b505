//! Changes of a user's identity beside cached personal access tokens.

use reqwest::Method;
use serde_json::json;

use super::{LONG, LogAccess, count_enforced, wait_for_check_source};
use crate::{
    outage::OwnRedis,
    personal_access_tokens::{get_with_token, make},
    test_server::{PASSWORD, Session, TestResponse, TestServer, claims, wait_until},
};

async fn rename(server: &TestServer, session: &Session, username: &str) -> TestResponse {
    server
        .with_token(
            Method::PATCH,
            "/user",
            &session.access_token,
            json!({"username": username}),
        )
        .await
}

/// Returns the username that an application behind a proxy receives.
async fn username(server: &TestServer, token: &str) -> String {
    let response = get_with_token(server, token, "/auth/verify").await;
    response.is(204, "").header("x-auth-username").to_owned()
}

/// Returns the username in the identity assertion for an application.
async fn asserted_username(server: &TestServer, token: &str) -> String {
    let check = server
        .request(Method::GET, "/auth/verify")
        .bearer_auth(token)
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "app.example.com");
    let response = server.send(check).await;
    let assertion = response.is(204, "").header("x-auth-assertion");
    claims(assertion)["username"]
        .as_str()
        .expect("a username")
        .to_owned()
}

#[tokio::test]
async fn identity_change_reaches_cached_token_on_every_replica() {
    let (server, mail_server) =
        TestServer::with_mail(&[LONG, ("LATCHKEY_IDENTITY_ASSERTIONS", "yes")]).await;
    let replica = server.replica().await;
    let (admin, user) = (
        server.admin("root").await,
        server.sign_up_with_email("john", "john@example.com").await,
    );
    let (_, token) = make(&server, &user, "user:read").await;
    wait_for_check_source(&replica, "memory").await;
    for number in 0..10 {
        for each in [&server, &replica] {
            asserted_username(each, &token).await;
        }
        let name = format!("john-{number}");
        let (changed, other) = if number % 2 == 0 {
            (&server, &replica)
        } else {
            (&replica, &server)
        };
        rename(changed, &user, &name).await.is(200, "");
        assert_eq!(username(other, &token).await, name);
        assert_eq!(asserted_username(other, &token).await, name);
        assert_eq!(username(changed, &token).await, name);
    }
    assert!(count_enforced(&server, "acknowledged").await >= 5.0);
    // An administrator changes the display name, and the user verifies the address.
    server
        .with_token(
            Method::PATCH,
            &user.user_path(),
            &admin.access_token,
            json!({"name": "John Doe"}),
        )
        .await
        .is(200, "");
    let identity = async |header: &str| {
        let response = get_with_token(&replica, &token, "/auth/verify").await;
        response.is(204, "").header(header).to_owned()
    };
    assert_eq!(identity("x-auth-name").await, "John Doe");
    assert_eq!(identity("x-auth-email").await, "");
    server
        .with_token(
            Method::POST,
            "/user/email",
            &user.access_token,
            json!({"email": "john@example.com", "password": PASSWORD}),
        )
        .await
        .is(202, "");
    let code = mail_server.code_for("john@example.com").await;
    server
        .with_token(
            Method::POST,
            "/user/email/confirm",
            &user.access_token,
            json!({"code": code}),
        )
        .await
        .is(200, "");
    assert_eq!(identity("x-auth-email").await, "john@example.com");
}

#[tokio::test]
async fn rebuilt_log_contains_identity_changes() {
    let own_redis = OwnRedis::start();
    let server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let (user, unchanged) = (server.sign_up("john").await, server.sign_up("mary").await);
    rename(&server, &user, "jane").await.is(200, "");
    let log_access = LogAccess::of(&server).await;
    let epoch = log_access.epoch().await;
    own_redis.command::<String>(&["FLUSHALL"]).await;
    wait_until("the log is rebuilt", || async {
        let current = log_access.epoch().await;
        current.is_some() && current != epoch
    })
    .await;
    let log: Vec<(String, Vec<String>)> = log_access.run(&["XRANGE", "{}:log", "-", "+"]).await;
    let has_entry = |text: &str| {
        log.iter()
            .any(|(_, fields)| fields.iter().any(|field| field.starts_with(text)))
    };
    assert!(has_entry(&format!("identity {} 2 ", user.claim("sub"))));
    assert!(!has_entry(&format!("identity {}", unchanged.claim("sub"))));
}

#[tokio::test]
async fn identity_change_during_redis_outage_is_published_later() {
    let mut own_redis = OwnRedis::start();
    let server = TestServer::with(&[LONG, ("REDIS_URL", &own_redis.redis.url())]).await;
    let replica = server.replica().await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    for each in [&server, &replica] {
        wait_for_check_source(each, "memory").await;
        assert_eq!(username(each, &token).await, "john");
    }
    own_redis.redis.kill();
    rename(&server, &user, "jane").await.is(503, "unavailable");
    assert_eq!(username(&server, &token).await, "jane");
    own_redis.redis.restart().expect("Redis starts");
    // Until then, the lease of the replica can outlast the outage.
    wait_until("the change is published", || async {
        username(&replica, &token).await == "jane"
    })
    .await;
    wait_until("the log is complete", || async {
        rename(&server, &user, "mary").await.status == 200
    })
    .await;
    assert_eq!(username(&replica, &token).await, "mary");
}

/// A replica without a lease reads the row for each check.
#[tokio::test]
async fn zero_lease_reads_identity_for_each_check() {
    let server = TestServer::start().await;
    let replica = server.replica_with(&[("LATCHKEY_LEASE", "0s")]).await;
    wait_for_check_source(&replica, "redis").await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    for name in ["jane", "mary", "john"] {
        username(&replica, &token).await;
        rename(&server, &user, name).await.is(200, "");
        assert_eq!(username(&replica, &token).await, name);
    }
}
