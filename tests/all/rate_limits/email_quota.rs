//! What a stranger can have sent to somebody, and tried with the codes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{HOME, THERE, count_of, post_from, throttled, wait};
use crate::{
    mail::MailServer,
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::ask,
};

const EMAIL: &str = "john@example.com";

async fn john(limits: &[(&str, &str)]) -> (TestServer, MailServer) {
    let mails = MailServer::start().await;
    let server =
        throttled(&[&[("LATCHKEY_SMTP_URL", mails.url().as_str())], limits].concat()).await;
    server.sign_up_with_email("john", EMAIL).await;
    (server, mails)
}

async fn forgot(server: &TestServer, address: &str, email: &str) -> TestResponse {
    post_from(server, address, "/password/forgot", json!({"email": email})).await
}

async fn reset(server: &TestServer, address: &str, code: &str) -> TestResponse {
    let body = json!({"email": EMAIL, "code": code, "new_password": "correct horse 9"});
    post_from(server, address, "/password/reset", body).await
}

#[tokio::test]
async fn beyond_its_budget_a_recipient_gets_no_mail_and_the_last_code_stays_good() {
    let (server, mails) = john(&[("LATCHKEY_LIMIT_EMAIL", "1/1d")]).await;
    let first = forgot(&server, HOME, EMAIL).await;
    let code = mails.code_for(EMAIL).await;
    for number in 1..=5 {
        let silent = forgot(&server, &format!("203.0.113.{number}"), "John@Example.com").await;
        assert_eq!(
            (silent.is(202, "").bytes.clone(), silent.header("ratelimit")),
            (first.bytes.clone(), first.header("ratelimit"))
        );
    }
    assert_eq!(
        ask(&server, "select count(*) from email_outbox").await,
        "1",
        "nothing was promised"
    );
    // Unknown addresses have a budget, too, and nobody is told of it.
    for _ in 0..2 {
        forgot(&server, HOME, "nobody@example.com")
            .await
            .is(202, "");
    }
    assert_eq!(ask(&server, "select count(*) from email_outbox").await, "2");
    reset(&server, HOME, &code).await.is(204, "");
}

#[tokio::test]
async fn one_network_asks_for_so_many_codes() {
    let (server, _mails) = john(&[("LATCHKEY_LIMIT_RESET_REQUEST", "2/1d")]).await;
    for email in [EMAIL, "nobody@example.com"] {
        forgot(&server, THERE, email).await.is(202, "");
    }
    wait(&forgot(&server, THERE, EMAIL).await, 86_400);
    forgot(&server, HOME, EMAIL).await.is(202, "");
    assert_eq!(ask(&server, "select count(*) from email_outbox").await, "3");
}

#[tokio::test]
async fn guessers_from_everywhere_slow_a_recovery_and_do_not_stop_it() {
    let (server, mails) = john(&[
        ("LATCHKEY_LIMIT_CODE_ACCOUNT", "2/1d"),
        ("LATCHKEY_LIMIT_CODE", "1/1d"),
    ])
    .await;
    forgot(&server, HOME, EMAIL).await.is(202, "");
    let code = mails.code_for(EMAIL).await;
    for number in 1..=4 {
        reset(&server, &format!("203.0.113.{number}"), "00000-00000")
            .await
            .is(400, "invalid_code");
    }
    wait(&reset(&server, "203.0.113.1", &code).await, 86_400);
    let began = Instant::now();
    reset(&server, HOME, &code).await.is(204, "");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(count_of(&server, "code_account", "delayed").await, 4.0);
}

/// Whoever has an account must not fill the mailboxes of others, nor use up what they need for a
/// recovery.
#[tokio::test]
async fn codes_for_addresses_have_budgets_of_their_own() {
    let (server, mails) = john(&[
        ("LATCHKEY_LIMIT_EMAIL", "1/1d"),
        ("LATCHKEY_LIMIT_RESET_REQUEST", "4/1d"),
    ])
    .await;
    let stranger = server.sign_up("stranger").await;
    let request = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        server
            .with_token(Method::POST, "/user/email", &stranger.access_token, body)
            .await
    };
    request(EMAIL, PASSWORD).await.is(202, "");
    request("JOHN@example.com", PASSWORD).await.is(202, "");
    assert_eq!(ask(&server, "select count(*) from email_outbox").await, "1");
    request("mary@example.com", PASSWORD).await.is(202, "");
    request("mary@example.com", "wrong-password")
        .await
        .is(403, "incorrect_password");
    wait(&request("joe@example.com", PASSWORD).await, 86_400);
    forgot(&server, HOME, EMAIL).await.is(202, "");
    assert_eq!(ask(&server, "select count(*) from email_outbox").await, "3");
    mails.wait_for(EMAIL, 2).await;
}
