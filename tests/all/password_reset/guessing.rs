//! Tests of password resets with invalid codes: they fail, and rate limits slow only the attacker.

use deadpool_redis::redis::cmd;
use reqwest::Method;
use serde_json::json;

use super::{
    EMAIL, NEW_PASSWORD, code_key, comparable_headers, start_with_user, start_with_user_and,
    wait_for_new_code,
};
use crate::{
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::connect_redis,
};

/// A well-formed code that is valid with a probability of 2^-50.
const WRONG_CODE: &str = "00000-00000";

const BEHIND_PROXY: &[(&str, &str)] = &[("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")];

async fn reset_from(
    server: &TestServer,
    ip_address: &str,
    email: &str,
    code: &str,
) -> TestResponse {
    let body = json!({"email": email, "code": code, "new_password": NEW_PASSWORD});
    let request = server
        .request(Method::POST, "/password/reset")
        .header("x-forwarded-for", ip_address);
    server.send(request.json(&body)).await
}

#[tokio::test]
async fn code_of_other_user_is_invalid() {
    let (server, mail_server, session) = start_with_user().await;
    server.sign_up_with_email("mary", "mary@example.com").await;
    let (code, other_code) = (
        mail_server.reset_code(&server, EMAIL).await,
        mail_server.reset_code(&server, "mary@example.com").await,
    );
    server
        .reset_password(EMAIL, &other_code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    server
        .reset_password("unknown@example.com", &code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    server
        .reset_password("mary@example.com", &other_code, NEW_PASSWORD)
        .await
        .is(204, "");
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn newer_code_invalidates_older_code() {
    let (server, mail_server, _) = start_with_user().await;
    let older = mail_server.reset_code(&server, EMAIL).await;
    server.forgot_password(EMAIL).await.is(202, "");
    let newer = wait_for_new_code(&mail_server, std::slice::from_ref(&older)).await;
    server
        .reset_password(EMAIL, &older, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    server
        .reset_password(EMAIL, &newer, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn undelivered_code_invalidates_older_code() {
    let (server, mut mail_server, _) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    mail_server.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    server.wait_for_log(&["email delivery failed"]).await;
    // The server stores the second code before the delivery, so the first code is already invalid.
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    mail_server.restart();
    let second = wait_for_new_code(&mail_server, &[code]).await;
    server
        .reset_password(EMAIL, &second, NEW_PASSWORD)
        .await
        .is(204, "");
}

/// An attacker with an older email must not be able to reset the new password.
#[tokio::test]
async fn password_change_invalidates_code() {
    let (server, mail_server, session) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change,
        )
        .await
        .is(204, "");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    assert_eq!(
        server.verify(&session.access_token).await.0,
        204,
        "the session stays valid"
    );
}

#[tokio::test]
async fn code_expires() {
    let (server, mail_server, session) =
        start_with_user_and(&[("LATCHKEY_CODE_LIFETIME", "3s")]).await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let key = code_key(&server, &session).await;
    let mut remaining_ms = i64::MAX;
    let mut is_expired = async || {
        remaining_ms = cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .expect("a number");
        assert!(remaining_ms <= 3000, "{remaining_ms}");
        remaining_ms < 0
    };
    while !is_expired().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(remaining_ms, -2, "the key is deleted");
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    server.try_sign_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn rate_limit_stops_attacker_and_not_owner() {
    let (server, mail_server, _) = start_with_user_and(BEHIND_PROXY).await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    for _ in 0..5 {
        reset_from(&server, "203.0.113.5", EMAIL, WRONG_CODE)
            .await
            .is(400, "invalid_code");
    }
    for attempt in [WRONG_CODE, &code] {
        let response = reset_from(&server, "203.0.113.5", EMAIL, attempt).await;
        response.is(429, "too_many_requests");
        let retry_after: u64 = response.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&retry_after), "{retry_after}");
    }
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    reset_from(&server, "198.51.100.7", EMAIL, &code)
        .await
        .is(204, "");
}

#[tokio::test]
async fn concurrent_attempts_are_all_counted() {
    let (server, _mail_server, _) = start_with_user_and(BEHIND_PROXY).await;
    let attempts = (0..20).map(|_| reset_from(&server, "203.0.113.5", EMAIL, WRONG_CODE));
    let responses = futures_util::future::join_all(attempts).await;
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
async fn ipv6_network_shares_one_rate_limit() {
    let (server, _mail_server, _) = start_with_user_and(BEHIND_PROXY).await;
    for number in 1..=5 {
        let ip_address = format!("2001:db8:1:2::{number}");
        reset_from(&server, &ip_address, EMAIL, WRONG_CODE)
            .await
            .is(400, "invalid_code");
    }
    reset_from(&server, "2001:db8:1:2:ffff::1", EMAIL, WRONG_CODE)
        .await
        .is(429, "too_many_requests");
    reset_from(&server, "2001:db8:1:3::1", EMAIL, WRONG_CODE)
        .await
        .is(400, "invalid_code");
}

#[tokio::test]
async fn guessing_for_unknown_user_gets_same_responses() {
    let (server, _mail_server, _) = start_with_user().await;
    server.forgot_password(EMAIL).await.is(202, "");
    for expected in [400, 400, 400, 400, 400, 429] {
        let known = server.reset_password(EMAIL, WRONG_CODE, NEW_PASSWORD).await;
        let unknown = server
            .reset_password("Unknown@example.com", WRONG_CODE, NEW_PASSWORD)
            .await;
        assert_eq!(
            (known.status, known.code()),
            (unknown.status, unknown.code())
        );
        assert_eq!(
            (known.status, comparable_headers(&known)),
            (expected, comparable_headers(&unknown))
        );
        if expected == 400 {
            assert_eq!(known.without_request_id(), unknown.without_request_id());
        }
    }
    // The rate limit ignores the case of the email address.
    server
        .reset_password("unknown@EXAMPLE.com", WRONG_CODE, NEW_PASSWORD)
        .await
        .is(429, "too_many_requests");
}
