//! Quotas for emails that an attacker can cause, and for attempts with codes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{ATTACKER_IP, USER_IP, assert_limited, decision_count, post_from, rate_limited_server};
use crate::{
    mail::MailServer,
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::query_value,
};

const EMAIL: &str = "john@example.com";

async fn server_with_user(limits: &[(&str, &str)]) -> (TestServer, MailServer) {
    let mail_server = MailServer::start().await;
    let server = rate_limited_server(
        &[&[("LATCHKEY_SMTP_URL", mail_server.url().as_str())], limits].concat(),
    )
    .await;
    server.sign_up_with_email("john", EMAIL).await;
    (server, mail_server)
}

async fn request_reset(server: &TestServer, address: &str, email: &str) -> TestResponse {
    post_from(server, address, "/password/forgot", json!({"email": email})).await
}

async fn reset_password(server: &TestServer, address: &str, code: &str) -> TestResponse {
    let body = json!({"email": EMAIL, "code": code, "new_password": "correct horse 9"});
    post_from(server, address, "/password/reset", body).await
}

#[tokio::test]
async fn exhausted_email_quota_keeps_the_last_code_valid() {
    let (server, mail_server) = server_with_user(&[("LATCHKEY_LIMIT_EMAIL", "1/1d")]).await;
    let first = request_reset(&server, USER_IP, EMAIL).await;
    let code = mail_server.code_for(EMAIL).await;
    for number in 1..=5 {
        let suppressed =
            request_reset(&server, &format!("203.0.113.{number}"), "John@Example.com").await;
        assert_eq!(
            (
                suppressed.is(202, "").bytes.clone(),
                suppressed.header("ratelimit")
            ),
            (first.bytes.clone(), first.header("ratelimit"))
        );
    }
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "1",
        "no other email is enqueued"
    );
    // Unknown addresses have a quota, too, so that responses reveal nothing.
    for _ in 0..2 {
        request_reset(&server, USER_IP, "unknown@example.com")
            .await
            .is(202, "");
    }
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "2"
    );
    reset_password(&server, USER_IP, &code).await.is(204, "");
}

#[tokio::test]
async fn reset_requests_per_network_are_limited() {
    let (server, _mail_server) =
        server_with_user(&[("LATCHKEY_LIMIT_RESET_REQUEST", "2/1d")]).await;
    for email in [EMAIL, "unknown@example.com"] {
        request_reset(&server, ATTACKER_IP, email).await.is(202, "");
    }
    assert_limited(&request_reset(&server, ATTACKER_IP, EMAIL).await, 86_400);
    request_reset(&server, USER_IP, EMAIL).await.is(202, "");
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "3"
    );
}

#[tokio::test]
async fn distributed_guessing_delays_but_allows_reset() {
    let (server, mail_server) = server_with_user(&[
        ("LATCHKEY_LIMIT_CODE_ACCOUNT", "2/1d"),
        ("LATCHKEY_LIMIT_CODE", "1/1d"),
    ])
    .await;
    request_reset(&server, USER_IP, EMAIL).await.is(202, "");
    let code = mail_server.code_for(EMAIL).await;
    for number in 1..=4 {
        reset_password(&server, &format!("203.0.113.{number}"), "00000-00000")
            .await
            .is(400, "invalid_code");
    }
    assert_limited(&reset_password(&server, "203.0.113.1", &code).await, 86_400);
    let started_at = Instant::now();
    reset_password(&server, USER_IP, &code).await.is(204, "");
    assert!(started_at.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        decision_count(&server, "code_account", "delayed").await,
        4.0
    );
}

/// A malicious user must not fill the mailboxes of other users, or exhaust their recovery quota.
#[tokio::test]
async fn email_change_codes_have_separate_quotas() {
    let (server, mail_server) = server_with_user(&[
        ("LATCHKEY_LIMIT_EMAIL", "1/1d"),
        ("LATCHKEY_LIMIT_RESET_REQUEST", "4/1d"),
    ])
    .await;
    let attacker = server.sign_up("attacker").await;
    let request = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        server
            .with_token(Method::POST, "/user/email", &attacker.access_token, body)
            .await
    };
    request(EMAIL, PASSWORD).await.is(202, "");
    request("JOHN@example.com", PASSWORD).await.is(202, "");
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "1"
    );
    request("mary@example.com", PASSWORD).await.is(202, "");
    request("mary@example.com", "wrong-password")
        .await
        .is(403, "incorrect_password");
    assert_limited(&request("joe@example.com", PASSWORD).await, 86_400);
    request_reset(&server, USER_IP, EMAIL).await.is(202, "");
    assert_eq!(
        query_value(&server, "select count(*) from email_outbox").await,
        "3"
    );
    mail_server.wait_for(EMAIL, 2).await;
}
