//! An account without a password: its owner is told by mail where to choose one.

use reqwest::Method;
use serde_json::json;

use super::Fixture;
use crate::{
    mail::{MailServer, code},
    test_server::{PASSWORD, TestServer},
    test_stores::ask,
};

#[tokio::test]
async fn who_is_invited_chooses_a_password_by_a_code_of_their_own() {
    let mails = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;
    let made = fixture
        .create(json!({"email": "mary@example.com", "name": "Mary"}))
        .await;
    assert_eq!(made.is(201, "").body["email_verified"], false);
    let letter = mails.wait_for("mary@example.com", 1).await.remove(0);
    assert!(
        letter.contains("Subject: You've been invited to auth.example.com"),
        "{letter}"
    );
    assert!(
        letter.contains("https://auth.example.com/forgot"),
        "{letter}"
    );
    assert!(code(&letter).is_none(), "an invitation holds no code");
    let hash = "select password_hash from users where email = 'mary@example.com'";
    assert!(
        ask(&fixture.server, hash)
            .await
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "as costly as any other"
    );

    fixture
        .server
        .forgot_password("mary@example.com")
        .await
        .is(202, "");
    mails.wait_for("mary@example.com", 2).await;
    let code = mails.code_for("mary@example.com").await;
    fixture
        .server
        .reset_password("mary@example.com", &code, PASSWORD)
        .await
        .is(204, "");
    fixture
        .server
        .log_in("mary@example.com", PASSWORD)
        .await
        .is(200, "");
    assert_eq!(
        fixture.get(made.header("location")).await.body["email_verified"],
        true
    );
}

#[tokio::test]
async fn who_has_a_password_gets_no_invitation() {
    let mails = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;
    fixture
        .create(json!({"email": "john@example.com", "password": PASSWORD}))
        .await
        .is(201, "");
    assert_eq!(
        ask(&fixture.server, "select count(*) from email_outbox").await,
        "0"
    );
}

/// The page that the invitation leads to.
#[tokio::test]
async fn the_page_for_forgotten_passwords_sends_what_the_operations_take() {
    let server = TestServer::shared().await;
    let page = server.get("/forgot").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.string();
    for part in [
        "'password/forgot', { email",
        "'password/reset', { email",
        "code:",
        "new_password:",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(
        !page
            .header("content-security-policy")
            .contains("script-src 'unsafe")
    );
    server
        .send(server.request(Method::POST, "/forgot"))
        .await
        .is(405, "method_not_allowed");
}
