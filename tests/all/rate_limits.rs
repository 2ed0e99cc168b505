//! Limits: a guesser is stopped, also one with a thousand hands; the owner, from elsewhere, is not.

mod email_quota; // codes and the mails that a stranger can cause
mod headers; // what answers, metrics and the log say of limits

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    metrics,
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::{ask, connect_redis},
};

const WRONG: &str = "not the right one";

/// A network of a guesser, and one of the owner.
const THERE: &str = "203.0.113.5";
const HOME: &str = "198.51.100.7";

/// With throttles, behind a proxy that is believed, so that a test can come from anywhere.
async fn throttled(limits: &[(&str, &str)]) -> TestServer {
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

async fn log_in_from(
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

/// Passwords that were hashed by this replica.
async fn hashes(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_hash_wait_seconds_count").await
}

fn count(responses: &[TestResponse], status: u16) -> usize {
    responses
        .iter()
        .filter(|response| response.status == status)
        .count()
}

/// The wait that a refusal tells, which must be within a period.
fn wait(response: &TestResponse, period: u64) -> u64 {
    let wait = response
        .is(429, "too_many_requests")
        .header("retry-after")
        .parse()
        .expect("seconds");
    assert!((1..=period).contains(&wait), "{wait}");
    wait
}

#[tokio::test]
async fn five_hundred_guesses_with_forged_addresses_are_those_of_one_network_and_the_owner_gets_in()
{
    let limit = ("LATCHKEY_LIMIT_SIGN_IN", "10/1d");
    let alone = ("LATCHKEY_TRUSTED_PROXIES", "none");
    let server = TestServer::with(&[("LATCHKEY_RATE_LIMITS", "on"), limit, alone]).await;
    let behind_a_proxy = server
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")])
        .await;
    server.sign_up("john").await;
    let before = hashes(&server).await;
    let forged: Vec<String> = (0..500)
        .map(|n| format!("198.51.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let guesses = forged
        .iter()
        .map(|address| log_in_from(&server, address, "john", WRONG));
    let (responses, owner) = tokio::join!(
        join_all(guesses),
        log_in_from(&behind_a_proxy, "192.0.2.7", "john", PASSWORD)
    );
    owner.is(200, "");
    assert_eq!((count(&responses, 401), count(&responses, 429)), (10, 490));
    for refused in responses.iter().filter(|response| response.status == 429) {
        wait(refused, 86_400);
    }
    assert_eq!(hashes(&server).await - before, 10.0);
    log_in_from(&behind_a_proxy, "192.0.2.7", "john", PASSWORD)
        .await
        .is(200, "");
}

#[tokio::test]
async fn replicas_share_the_limit_also_at_the_same_moment() {
    let server = throttled(&[("LATCHKEY_LIMIT_SIGN_IN", "7/1d")]).await;
    let second = server.replica().await;
    server.sign_up("john").await;
    let replicas = [&server, &second];
    let guesses = (0..60).map(|n| log_in_from(replicas[n % 2], THERE, "john", WRONG));
    let responses = join_all(guesses).await;
    assert_eq!((count(&responses, 401), count(&responses, 429)), (7, 53));
    assert_eq!(
        hashes(&server).await + hashes(&second).await,
        8.0,
        "and that of the sign-up"
    );
}

#[tokio::test]
async fn success_never_counts_and_never_hides_failures() {
    let server = throttled(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "3/1d"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "3/1d"),
    ])
    .await;
    server.sign_up("john").await;
    for _ in 0..8 {
        log_in_from(&server, HOME, "john", PASSWORD)
            .await
            .is(200, "");
    }
    for (password, expected) in [
        (WRONG, 401),
        (PASSWORD, 200),
        (WRONG, 401),
        (PASSWORD, 200),
        (WRONG, 401),
        (PASSWORD, 429),
        (WRONG, 429),
    ] {
        assert_eq!(
            log_in_from(&server, HOME, "john", password).await.status,
            expected
        );
    }
    log_in_from(&server, THERE, "john", PASSWORD)
        .await
        .is(200, "");
}

/// How often a limit had this outcome at this replica.
async fn count_of(server: &TestServer, limit: &str, outcome: &str) -> f64 {
    let series =
        format!("latchkey_rate_limit_decisions_total{{limit=\"{limit}\",outcome=\"{outcome}\"}}");
    metrics::value(server, &series).await
}

#[tokio::test]
async fn whether_an_account_exists_makes_no_difference() {
    // By the day: of a limit by the minute some would come back meanwhile.
    let server = throttled(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "3/1d"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "100/1d"),
    ])
    .await;
    server.sign_up("john").await;
    for expected in [401, 401, 401, 429, 429] {
        let known = log_in_from(&server, THERE, "john", WRONG).await;
        let unknown = log_in_from(&server, HOME, "nobody", WRONG).await;
        assert_eq!(
            (known.status, unknown.status, known.code()),
            (expected, expected, unknown.code())
        );
        assert_eq!(
            known.header("ratelimit-policy"),
            unknown.header("ratelimit-policy")
        );
        assert_eq!(remaining(&known), remaining(&unknown));
    }
    // One account, however its name is written.
    for same in ["JOHN", " john "] {
        log_in_from(&server, THERE, same, WRONG)
            .await
            .is(429, "too_many_requests");
    }
}

/// What is left of each limit, without the seconds, which pass.
fn remaining(response: &TestResponse) -> Vec<&str> {
    response
        .header("ratelimit")
        .split(", ")
        .filter_map(|item| item.split(";t=").next())
        .collect()
}

#[tokio::test]
async fn one_network_has_one_limit_for_all_accounts() {
    let server = throttled(&[("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "3/1d")]).await;
    server.sign_up("john").await;
    for number in 0..3 {
        let (address, name) = (format!("2001:db8:1:2::{number}"), format!("user{number}"));
        log_in_from(&server, &address, &name, WRONG)
            .await
            .is(401, "invalid_credentials");
    }
    wait(
        &log_in_from(&server, "2001:db8:1:2:ffff::1", "john", PASSWORD).await,
        86_400,
    );
    log_in_from(&server, "2001:db8:1:3::1", "john", PASSWORD)
        .await
        .is(200, "");
    let before = hashes(&server).await;
    let reset = json!({
        "email": "john@example.com",
        "code": "00000-00000",
        "new_password": "correct horse 9",
    });
    wait(
        &post_from(&server, "2001:db8:1:2::9", "/password/reset", reset).await,
        86_400,
    );
    assert_eq!(
        hashes(&server).await,
        before,
        "no hash for whoever is refused"
    );
}

#[tokio::test]
async fn what_all_networks_did_to_an_account_only_slows_it() {
    let server = throttled(&[("LATCHKEY_LIMIT_SIGN_IN_ACCOUNT", "2/1d")]).await;
    server.sign_up("john").await;
    for number in 1..=2 {
        log_in_from(&server, &format!("203.0.113.{number}"), "john", WRONG)
            .await
            .is(401, "invalid_credentials");
    }
    assert_eq!(count_of(&server, "sign_in_account", "delayed").await, 0.0);
    let (before, began) = (hashes(&server).await, Instant::now());
    log_in_from(&server, HOME, "john", PASSWORD)
        .await
        .is(200, "");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        (
            count_of(&server, "sign_in_account", "delayed").await,
            hashes(&server).await
        ),
        (1.0, before + 1.0)
    );
}

#[tokio::test]
async fn nobody_guesses_a_password_with_a_token_that_was_found() {
    let server = throttled(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1d"),
        ("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9"),
    ])
    .await;
    let john = server.sign_up("john").await;
    let password =
        |current: &str| json!({"current_password": current, "new_password": "correct horse 9"});
    let email = |current: &str| json!({"email": "john@example.com", "password": current});
    for (path, body, status) in [
        ("/user/password", password(WRONG), 403),
        ("/user/email", email(WRONG), 403),
        ("/user/password", password(PASSWORD), 429),
        ("/user/email", email(PASSWORD), 429),
    ] {
        assert_eq!(
            server
                .with_token(Method::POST, path, &john.access_token, body)
                .await
                .status,
            status,
            "{path}"
        );
    }
    assert_eq!(ask(&server, "select count(*) from email_outbox").await, "0");
    server.log_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn sign_ups_are_counted_also_those_that_succeed() {
    let server = throttled(&[("LATCHKEY_LIMIT_SIGN_UP", "3/1d")]).await;
    let sign_up = async |address: &str, name: &str, password: &str| {
        post_from(
            &server,
            address,
            "/signup",
            json!({"username": name, "password": password}),
        )
        .await
    };
    sign_up(THERE, "john", PASSWORD).await.is(201, "");
    for _ in 0..4 {
        sign_up(THERE, "weak", "short")
            .await
            .is(400, "weak_password");
    }
    sign_up(THERE, "john", PASSWORD)
        .await
        .is(409, "username_taken");
    sign_up(THERE, "jane", PASSWORD).await.is(201, "");
    wait(&sign_up(THERE, "joe", PASSWORD).await, 86_400);
    assert_eq!(ask(&server, "select count(*) from users").await, "2");
    sign_up(HOME, "joe", PASSWORD).await.is(201, "");
}

#[tokio::test]
async fn failures_of_refresh_are_counted_and_a_good_token_passes() {
    let server = throttled(&[("LATCHKEY_LIMIT_REFRESH_FAILURES", "3/1d")]).await;
    let mut john = server.sign_up("john").await;
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
        john =
            crate::test_server::Session::of(refresh(THERE, &john.refresh_token).await.is(200, ""));
    }
    for _ in 0..3 {
        refresh(THERE, "garbage")
            .await
            .is(401, "invalid_refresh_token");
    }
    wait(&refresh(THERE, "garbage").await, 86_400);
    refresh(HOME, "garbage")
        .await
        .is(401, "invalid_refresh_token");
    refresh(THERE, &john.refresh_token).await.is(200, "");
}

/// Nobody waits at all here, so every hash comes too late.
#[tokio::test]
async fn what_failed_for_our_reasons_does_not_count() {
    let server = throttled(&[
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1d"),
        ("LATCHKEY_LIMIT_SIGN_UP", "2/1d"),
    ])
    .await;
    let busy = server.replica_with(&[("LATCHKEY_HASH_WAIT", "0ms")]).await;
    for _ in 0..4 {
        log_in_from(&busy, HOME, "john", WRONG)
            .await
            .is(503, "busy");
        post_from(
            &busy,
            HOME,
            "/signup",
            json!({"username": "john", "password": PASSWORD}),
        )
        .await
        .is(503, "busy");
        post_from(&busy, HOME, "/login", json!({"username": "john"}))
            .await
            .is(400, "invalid_request");
    }
    post_from(
        &server,
        HOME,
        "/signup",
        json!({"username": "john", "password": PASSWORD}),
    )
    .await
    .is(201, "");
    for expected in [401, 401, 429] {
        assert_eq!(
            log_in_from(&server, HOME, "john", WRONG).await.status,
            expected
        );
    }
}

#[tokio::test]
async fn keys_end_and_tell_nobody() {
    let limits = [
        "LATCHKEY_LIMIT_SIGN_IN_NETWORK",
        "LATCHKEY_LIMIT_REFRESH_FAILURES",
    ];
    let server = throttled(&limits.map(|limit| (limit, "100/1d"))).await;
    server.sign_up("john").await;
    log_in_from(&server, THERE, "john", WRONG)
        .await
        .is(401, "invalid_credentials");
    post_from(
        &server,
        THERE,
        "/refresh",
        json!({"refresh_token": "garbage"}),
    )
    .await
    .is(401, "invalid_refresh_token");
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let pattern = format!("{}:*:rate_limit:*", server.setting("LATCHKEY_REDIS_PREFIX"));
    let keys: Vec<String> = cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .expect("keys");
    // A sign-up; a sign-in in three buckets; a refresh.
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        assert!(
            !key.contains("john") && !key.contains(THERE) && key.contains('{'),
            "{key}"
        );
        let left: i64 = cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .expect("a number");
        assert!((1..=3_600_000).contains(&left), "{key}: {left}");
    }
}
