//! Who has no code, or another one, gets nowhere, and stops nobody else.

use deadpool_redis::redis::cmd;
use reqwest::Method;
use serde_json::json;

use super::{EMAIL, NEW, code_key, john, john_with, newest_code, steady_headers};
use crate::{
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::connect_redis,
};

/// Well formed, and right with a chance of one in 2^50.
const WRONG: &str = "00000-00000";

const BEHIND_A_PROXY: &[(&str, &str)] = &[("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")];

async fn reset_from(server: &TestServer, address: &str, email: &str, code: &str) -> TestResponse {
    let body = json!({"email": email, "code": code, "new_password": NEW});
    let request = server
        .request(Method::POST, "/password/reset")
        .header("x-forwarded-for", address);
    server.send(request.json(&body)).await
}

#[tokio::test]
async fn the_code_of_somebody_else_is_no_code() {
    let (server, mails, john) = john().await;
    server.sign_up_with_email("mary", "mary@example.com").await;
    let (johns, marys) = (
        mails.reset_code(&server, EMAIL).await,
        mails.reset_code(&server, "mary@example.com").await,
    );
    server
        .reset_password(EMAIL, &marys, NEW)
        .await
        .is(400, "invalid_code");
    server
        .reset_password("nobody@example.com", &johns, NEW)
        .await
        .is(400, "invalid_code");
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    server.log_in("john", PASSWORD).await.is(200, "");
    server
        .reset_password("mary@example.com", &marys, NEW)
        .await
        .is(204, "");
    server.reset_password(EMAIL, &johns, NEW).await.is(204, "");
}

#[tokio::test]
async fn a_newer_code_replaces_an_older_one() {
    let (server, mails, _) = john().await;
    let older = mails.reset_code(&server, EMAIL).await;
    server.forgot_password(EMAIL).await.is(202, "");
    let newer = newest_code(&mails, std::slice::from_ref(&older)).await;
    server
        .reset_password(EMAIL, &older, NEW)
        .await
        .is(400, "invalid_code");
    server.log_in("john", PASSWORD).await.is(200, "");
    server.reset_password(EMAIL, &newer, NEW).await.is(204, "");
}

#[tokio::test]
async fn a_code_that_still_waits_dies_with_the_reset() {
    let (server, mut mails, _) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    mails.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    server.until_logged(&["email delivery failed"]).await;
    // The second code is registered before it is sent, and so the first is dead already.
    server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(400, "invalid_code");
    mails.start_again();
    let second = newest_code(&mails, &[code]).await;
    server.reset_password(EMAIL, &second, NEW).await.is(204, "");
}

/// Whoever read the mail must not take the account back.
#[tokio::test]
async fn a_code_dies_with_a_change_of_password() {
    let (server, mails, john) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    server
        .with_token(Method::POST, "/user/password", &john.access_token, change)
        .await
        .is(204, "");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server.log_in("john", NEW).await.is(200, "");
    assert_eq!(
        server.verify(&john.access_token).await.0,
        204,
        "nothing else happened"
    );
}

#[tokio::test]
async fn a_code_ends() {
    let (server, mails, john) = john_with(&[("LATCHKEY_CODE_LIFETIME", "3s")]).await;
    let code = mails.reset_code(&server, EMAIL).await;
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let key = code_key(&server, &john);
    let mut left = i64::MAX;
    let mut is_over = async || {
        left = cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .expect("a number");
        assert!(left <= 3000, "{left}");
        left < 0
    };
    while !is_over().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, -2, "it is gone, not kept for ever");
    server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(400, "invalid_code");
    server.log_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn a_guesser_is_stopped_and_the_owner_is_not() {
    let (server, mails, _) = john_with(BEHIND_A_PROXY).await;
    let code = mails.reset_code(&server, EMAIL).await;
    for _ in 0..5 {
        reset_from(&server, "203.0.113.5", EMAIL, WRONG)
            .await
            .is(400, "invalid_code");
    }
    for tried in [WRONG, &code] {
        let response = reset_from(&server, "203.0.113.5", EMAIL, tried).await;
        response.is(429, "too_many_requests");
        let wait: u64 = response.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&wait), "{wait}");
    }
    server.log_in("john", PASSWORD).await.is(200, "");
    reset_from(&server, "198.51.100.7", EMAIL, &code)
        .await
        .is(204, "");
}

#[tokio::test]
async fn tries_at_the_same_moment_are_all_counted() {
    let (server, _mails, _) = john_with(BEHIND_A_PROXY).await;
    let tries = (0..20).map(|_| reset_from(&server, "203.0.113.5", EMAIL, WRONG));
    let responses = futures_util::future::join_all(tries).await;
    assert_eq!(
        responses
            .iter()
            .filter(|response| response.status == 400)
            .count(),
        5
    );
    assert_eq!(
        responses
            .iter()
            .filter(|response| response.status == 429)
            .count(),
        15
    );
}

#[tokio::test]
async fn a_subscriber_has_one_count_for_all_addresses() {
    let (server, _mails, _) = john_with(BEHIND_A_PROXY).await;
    for number in 1..=5 {
        let address = format!("2001:db8:1:2::{number}");
        reset_from(&server, &address, EMAIL, WRONG)
            .await
            .is(400, "invalid_code");
    }
    reset_from(&server, "2001:db8:1:2:ffff::1", EMAIL, WRONG)
        .await
        .is(429, "too_many_requests");
    reset_from(&server, "2001:db8:1:3::1", EMAIL, WRONG)
        .await
        .is(400, "invalid_code");
}

#[tokio::test]
async fn guessing_for_an_unknown_address_looks_the_same() {
    let (server, _mails, _) = john().await;
    server.forgot_password(EMAIL).await.is(202, "");
    for expected in [400, 400, 400, 400, 400, 429] {
        let known = server.reset_password(EMAIL, WRONG, NEW).await;
        let unknown = server
            .reset_password("Nobody@example.com", WRONG, NEW)
            .await;
        assert_eq!(
            (known.status, known.code()),
            (unknown.status, unknown.code())
        );
        assert_eq!(
            (known.status, steady_headers(&known)),
            (expected, steady_headers(&unknown))
        );
        if expected == 400 {
            assert_eq!(known.without_request_id(), unknown.without_request_id());
        }
    }
    // The count is of the address, however it is written.
    server
        .reset_password("nobody@EXAMPLE.com", WRONG, NEW)
        .await
        .is(429, "too_many_requests");
}
