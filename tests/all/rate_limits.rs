//! Rate limits: attackers are limited, also distributed ones, and users can still sign in.

mod email_quota; // quotas for emails and for attempts with codes
mod headers; // rate limits in responses, metrics, and the log
mod scripts; // the Redis scripts and the local buckets

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    metrics,
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::{connect_redis, query_value, redis_prefix},
};

const WRONG_PASSWORD: &str = "not the right one";

/// IP addresses of an attacker and of the user, in different networks.
const ATTACKER_IP: &str = "203.0.113.5";
const USER_IP: &str = "198.51.100.7";

/// A server with rate limits behind a trusted proxy, so that tests can choose the IP address.
async fn rate_limited_server(limits: &[(&str, &str)]) -> TestServer {
    TestServer::with(
        &[
            &[
                ("LATCHKEY_RATE_LIMITS", "on"),
                ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
            ],
            limits,
        ]
        .concat(),
    )
    .await
}

async fn post_from(server: &TestServer, address: &str, path: &str, body: Value) -> TestResponse {
    let request = server
        .request(Method::POST, path)
        .header("x-forwarded-for", address);
    server.send(request.json(&body)).await
}

async fn sign_in_from(
    server: &TestServer,
    address: &str,
    username: &str,
    password: &str,
) -> TestResponse {
    post_from(
        server,
        address,
        "/login",
        json!({"username": username, "password": password}),
    )
    .await
}

/// Number of passwords that this replica hashed.
async fn hash_count(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_hash_wait_seconds_count").await
}

fn count_status(responses: &[TestResponse], status: u16) -> usize {
    responses
        .iter()
        .filter(|response| response.status == status)
        .count()
}

/// Asserts that the request was limited, and returns `Retry-After`, which is at most the period.
fn assert_limited(response: &TestResponse, period: u64) -> u64 {
    let retry_after = response
        .is(429, "too_many_requests")
        .header("retry-after")
        .parse()
        .expect("seconds");
    assert!((1..=period).contains(&retry_after), "{retry_after}");
    retry_after
}

#[tokio::test]
async fn spoofed_addresses_share_one_network_limit() {
    let limit = ("LATCHKEY_LIMIT_SIGN_IN", "10/1d");
    let no_proxies = ("LATCHKEY_TRUSTED_PROXIES", "none");
    let server = TestServer::with(&[("LATCHKEY_RATE_LIMITS", "on"), limit, no_proxies]).await;
    let behind_proxy = server
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")])
        .await;
    server.sign_up("john").await;
    let before = hash_count(&server).await;
    let spoofed: Vec<String> = (0..500)
        .map(|n| format!("198.51.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let guesses = spoofed
        .iter()
        .map(|address| sign_in_from(&server, address, "john", WRONG_PASSWORD));
    let (responses, user) = tokio::join!(
        join_all(guesses),
        sign_in_from(&behind_proxy, "192.0.2.7", "john", PASSWORD)
    );
    user.is(200, "");
    assert_eq!(
        (count_status(&responses, 401), count_status(&responses, 429)),
        (10, 490)
    );
    for limited in responses.iter().filter(|response| response.status == 429) {
        assert_limited(limited, 86_400);
    }
    assert_eq!(hash_count(&server).await - before, 10.0);
    sign_in_from(&behind_proxy, "192.0.2.7", "john", PASSWORD)
        .await
        .is(200, "");
}

#[tokio::test]
async fn concurrent_replicas_share_limits() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_SIGN_IN", "7/1d")]).await;
    let second = server.replica().await;
    server.sign_up("john").await;
    let replicas = [&server, &second];
    let guesses =
        (0..60).map(|n| sign_in_from(replicas[n % 2], ATTACKER_IP, "john", WRONG_PASSWORD));
    let responses = join_all(guesses).await;
    assert_eq!(
        (count_status(&responses, 401), count_status(&responses, 429)),
        (7, 53)
    );
    assert_eq!(
        hash_count(&server).await + hash_count(&second).await,
        8.0,
        "seven sign-ins and one sign-up"
    );
}

#[tokio::test]
async fn success_neither_counts_nor_resets_failures() {
    let server = rate_limited_server(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "3/1d"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "3/1d"),
    ])
    .await;
    server.sign_up("john").await;
    for _ in 0..8 {
        sign_in_from(&server, USER_IP, "john", PASSWORD)
            .await
            .is(200, "");
    }
    for (password, expected) in [
        (WRONG_PASSWORD, 401),
        (PASSWORD, 200),
        (WRONG_PASSWORD, 401),
        (PASSWORD, 200),
        (WRONG_PASSWORD, 401),
        (PASSWORD, 429),
        (WRONG_PASSWORD, 429),
    ] {
        assert_eq!(
            sign_in_from(&server, USER_IP, "john", password)
                .await
                .status,
            expected
        );
    }
    sign_in_from(&server, ATTACKER_IP, "john", PASSWORD)
        .await
        .is(200, "");
}

/// Number of decisions of a limit with this outcome on this replica.
async fn decision_count(server: &TestServer, limit: &str, outcome: &str) -> f64 {
    let series =
        format!("latchkey_rate_limit_decisions_total{{limit=\"{limit}\",outcome=\"{outcome}\"}}");
    metrics::value(server, &series).await
}

#[tokio::test]
async fn limits_do_not_reveal_whether_a_user_exists() {
    // With limits per minute, attempts would be refilled during the test.
    let server = rate_limited_server(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "3/1d"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "100/1d"),
    ])
    .await;
    server.sign_up("john").await;
    for expected in [401, 401, 401, 429, 429] {
        let existing = sign_in_from(&server, ATTACKER_IP, "john", WRONG_PASSWORD).await;
        let unknown = sign_in_from(&server, USER_IP, "unknown", WRONG_PASSWORD).await;
        assert_eq!(
            (existing.status, unknown.status, existing.code()),
            (expected, expected, unknown.code())
        );
        assert_eq!(
            existing.header("ratelimit-policy"),
            unknown.header("ratelimit-policy")
        );
        assert_eq!(remaining_quota(&existing), remaining_quota(&unknown));
    }
    // Normalized usernames share one limit.
    for username in ["JOHN", " john "] {
        sign_in_from(&server, ATTACKER_IP, username, WRONG_PASSWORD)
            .await
            .is(429, "too_many_requests");
    }
}

/// The remaining quota of each limit, without the seconds, which vary.
fn remaining_quota(response: &TestResponse) -> Vec<&str> {
    response
        .header("ratelimit")
        .split(", ")
        .filter_map(|item| item.split(";t=").next())
        .collect()
}

#[tokio::test]
async fn network_limit_covers_all_users() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "3/1d")]).await;
    server.sign_up("john").await;
    for number in 0..3 {
        let (address, name) = (format!("2001:db8:1:2::{number}"), format!("user{number}"));
        sign_in_from(&server, &address, &name, WRONG_PASSWORD)
            .await
            .is(401, "invalid_credentials");
    }
    assert_limited(
        &sign_in_from(&server, "2001:db8:1:2:ffff::1", "john", PASSWORD).await,
        86_400,
    );
    let rejected = "latchkey_sign_ins_total{outcome=\"rate_limited\"}";
    assert_eq!(metrics::value(&server, rejected).await, 1.0);
    sign_in_from(&server, "2001:db8:1:3::1", "john", PASSWORD)
        .await
        .is(200, "");
    let before = hash_count(&server).await;
    let reset = json!({
        "email": "john@example.com",
        "code": "00000-00000",
        "new_password": "correct horse 9",
    });
    assert_limited(
        &post_from(&server, "2001:db8:1:2::9", "/password/reset", reset).await,
        86_400,
    );
    assert_eq!(hash_count(&server).await, before, "no password is hashed");
}

#[tokio::test]
async fn user_limit_only_delays_other_networks() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_SIGN_IN_ACCOUNT", "2/1d")]).await;
    server.sign_up("john").await;
    for number in 1..=2 {
        sign_in_from(
            &server,
            &format!("203.0.113.{number}"),
            "john",
            WRONG_PASSWORD,
        )
        .await
        .is(401, "invalid_credentials");
    }
    assert_eq!(
        decision_count(&server, "sign_in_account", "delayed").await,
        0.0
    );
    let (before, started_at) = (hash_count(&server).await, Instant::now());
    sign_in_from(&server, USER_IP, "john", PASSWORD)
        .await
        .is(200, "");
    assert!(started_at.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        (
            decision_count(&server, "sign_in_account", "delayed").await,
            hash_count(&server).await
        ),
        (1.0, before + 1.0)
    );
}

#[tokio::test]
async fn password_attempts_with_a_token_are_limited() {
    let server = rate_limited_server(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1d"),
        ("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let password =
        |current: &str| json!({"current_password": current, "new_password": "correct horse 9"});
    let email = |current: &str| json!({"email": "john@example.com", "password": current});
    for (path, body, status) in [
        ("/user/password", password(WRONG_PASSWORD), 403),
        ("/user/email", email(WRONG_PASSWORD), 403),
        ("/user/password", password(PASSWORD), 429),
        ("/user/email", email(PASSWORD), 429),
    ] {
        assert_eq!(
            server
                .with_token(Method::POST, path, &session.access_token, body)
                .await
                .status,
            status,
            "{path}"
        );
    }
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "0"
    );
    server.try_sign_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn sign_up_limit_counts_successes() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_SIGN_UP", "3/1d")]).await;
    let sign_up = async |address: &str, name: &str, password: &str| {
        post_from(
            &server,
            address,
            "/signup",
            json!({"username": name, "password": password}),
        )
        .await
    };
    sign_up(ATTACKER_IP, "john", PASSWORD).await.is(201, "");
    for _ in 0..4 {
        sign_up(ATTACKER_IP, "weak", "short")
            .await
            .is(400, "weak_password");
    }
    sign_up(ATTACKER_IP, "john", PASSWORD)
        .await
        .is(409, "username_taken");
    sign_up(ATTACKER_IP, "jane", PASSWORD).await.is(201, "");
    assert_limited(&sign_up(ATTACKER_IP, "joe", PASSWORD).await, 86_400);
    assert_eq!(
        query_value(&server, "select count(*) from users").await,
        "2"
    );
    sign_up(USER_IP, "joe", PASSWORD).await.is(201, "");
}

#[tokio::test]
async fn refresh_limit_counts_only_failures() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_REFRESH_FAILURES", "3/1d")]).await;
    let mut session = server.sign_up("john").await;
    let refresh = async |address: &str, token: &str| {
        post_from(
            &server,
            address,
            "/refresh",
            json!({"refresh_token": token}),
        )
        .await
    };
    for _ in 0..5 {
        session = crate::test_server::Session::of(
            refresh(ATTACKER_IP, &session.refresh_token)
                .await
                .is(200, ""),
        );
    }
    for _ in 0..3 {
        refresh(ATTACKER_IP, "garbage")
            .await
            .is(401, "invalid_refresh_token");
    }
    assert_limited(&refresh(ATTACKER_IP, "garbage").await, 86_400);
    refresh(USER_IP, "garbage")
        .await
        .is(401, "invalid_refresh_token");
    refresh(ATTACKER_IP, &session.refresh_token)
        .await
        .is(200, "");
}

/// Without waiting time, the hash queue rejects every password.
#[tokio::test]
async fn server_errors_do_not_count_as_attempts() {
    let server = rate_limited_server(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1d"),
        ("LATCHKEY_LIMIT_SIGN_UP", "2/1d"),
    ])
    .await;
    let busy = server.replica_with(&[("LATCHKEY_HASH_WAIT", "0ms")]).await;
    for _ in 0..4 {
        sign_in_from(&busy, USER_IP, "john", WRONG_PASSWORD)
            .await
            .is(503, "busy");
        post_from(
            &busy,
            USER_IP,
            "/signup",
            json!({"username": "john", "password": PASSWORD}),
        )
        .await
        .is(503, "busy");
        post_from(&busy, USER_IP, "/login", json!({"username": "john"}))
            .await
            .is(400, "invalid_request");
    }
    post_from(
        &server,
        USER_IP,
        "/signup",
        json!({"username": "john", "password": PASSWORD}),
    )
    .await
    .is(201, "");
    for expected in [401, 401, 429] {
        assert_eq!(
            sign_in_from(&server, USER_IP, "john", WRONG_PASSWORD)
                .await
                .status,
            expected
        );
    }
}

#[tokio::test]
async fn redis_keys_expire_and_contain_no_identity() {
    let limits = [
        "LATCHKEY_LIMIT_SIGN_IN_NETWORK",
        "LATCHKEY_LIMIT_REFRESH_FAILURES",
    ];
    let server = rate_limited_server(&limits.map(|limit| (limit, "100/1d"))).await;
    server.sign_up("john").await;
    sign_in_from(&server, ATTACKER_IP, "john", WRONG_PASSWORD)
        .await
        .is(401, "invalid_credentials");
    post_from(
        &server,
        ATTACKER_IP,
        "/refresh",
        json!({"refresh_token": "garbage"}),
    )
    .await
    .is(401, "invalid_refresh_token");
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let pattern = format!("{}:*:rate_limit:*", redis_prefix(&server).await);
    let keys: Vec<String> = cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .expect("keys");
    // Keys of one sign-up, one sign-in with three limits, and one refresh.
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        assert!(
            !key.contains("john") && !key.contains(ATTACKER_IP) && key.contains('{'),
            "{key}"
        );
        let ttl: i64 = cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .expect("a number");
        assert!((1..=3_600_000).contains(&ttl), "{key}: {ttl}");
    }
}
