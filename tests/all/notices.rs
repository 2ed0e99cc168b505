//! Emails that notify a user of a change of the account.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::MailServer,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{execute, query_value},
};

const JOHN: &str = "john@example.com";
const ROOT: &str = "root@example.com";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

async fn start() -> (TestServer, MailServer, Session, Session) {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let (john, root) = (
        server.sign_up_with_email("john", JOHN).await,
        server.admin("root").await,
    );
    let verify =
        format!("update users set email_verified = true, email = coalesce(email, '{ROOT}')");
    execute(&server, &verify).await;
    (server, mail_server, john, root)
}

/// Waits until no email is pending, and returns the number of emails to the address with a subject.
async fn count(server: &TestServer, mail_server: &MailServer, to: &str, subject: &str) -> usize {
    let pending = "select count(*) from email_outbox where sent_at is null";
    wait_until("no email is pending", || async {
        query_value(server, pending).await == "0"
    })
    .await;
    let subject = format!("Subject: {subject}");
    let emails = mail_server.emails_to(to);
    emails
        .iter()
        .filter(|email| email.contains(&subject))
        .count()
}

async fn sign_in_with(server: &TestServer, user_agent: &str) {
    let request = server
        .request(Method::POST, "/login")
        .header("user-agent", user_agent)
        .json(&json!({"username": "john", "password": PASSWORD}));
    server.send(request).await.is(200, "");
}

#[tokio::test]
async fn sign_in_with_new_device_notifies_user() {
    let (server, mail_server, ..) = start().await;
    let subject = "New sign-in to your account";
    sign_in_with(&server, FIREFOX).await;
    assert_eq!(count(&server, &mail_server, JOHN, subject).await, 1);
    let email = mail_server.emails_to(JOHN).remove(0);
    for part in [
        "Device: Firefox on Linux (IP address 127.0.0.1)",
        "Time: ",
        "/forgot",
    ] {
        assert!(email.contains(part), "{email}");
    }
    // A new version of the browser is the same device, and another browser isn't.
    sign_in_with(&server, &FIREFOX.replace("128", "129")).await;
    assert_eq!(count(&server, &mail_server, JOHN, subject).await, 1);
    sign_in_with(&server, "curl/8.1").await;
    assert_eq!(count(&server, &mail_server, JOHN, subject).await, 2);
    // Without an earlier session, the device is new, too.
    execute(&server, "delete from sessions").await;
    sign_in_with(&server, "curl/8.1").await;
    assert_eq!(count(&server, &mail_server, JOHN, subject).await, 3);
}

#[tokio::test]
async fn new_credentials_and_administrators_notify_users() {
    let (server, mail_server, john, root) = start().await;
    personal_access_tokens::make(&server, &john, "user:read").await;
    let created = "A personal access token was created";
    assert_eq!(count(&server, &mail_server, JOHN, created).await, 1);

    let call = |method, path: String, body: Value| {
        let (server, token) = (&server, root.access_token.clone());
        async move { server.with_token(method, &path, &token, body).await }
    };
    let role = json!({"role": "admin"});
    for _ in 0..2 {
        call(Method::PATCH, john.user_path(), role.clone())
            .await
            .is(200, "");
    }
    let granted = "You are now an administrator";
    assert_eq!(count(&server, &mail_server, JOHN, granted).await, 1);
    let emails = mail_server.emails_to(JOHN);
    let email = emails.iter().find(|email| email.contains(granted));
    // The IP address of the administrator isn't disclosed.
    assert!(!email.expect("an email").contains("Device"));
    let by_root = "An administrator was added with your account";
    assert_eq!(count(&server, &mail_server, ROOT, by_root).await, 1);
}

#[tokio::test]
async fn administrators_are_notified_of_client_secrets_and_permissions() {
    let (server, mail_server, _john, root) = start().await;
    let call = |method, path: String, body: Value| {
        let (server, token) = (&server, root.access_token.clone());
        async move { server.with_token(method, &path, &token, body).await }
    };
    let registration = json!({"name": "client", "scope": "items:read"});
    let client = call(Method::POST, "/clients".into(), registration).await;
    let path = format!("/clients/{}", client.is(201, "").text("client_id"));
    let rotated = call(Method::POST, format!("{path}/rotate"), Value::Null).await;
    rotated.is(200, "");
    let secret = "A client secret was created";
    assert_eq!(count(&server, &mail_server, ROOT, secret).await, 2);
    let emails = mail_server.emails_to(ROOT);
    let email = emails.iter().find(|email| email.contains(secret));
    let device = "(IP address 127.0.0.1)";
    assert!(email.expect("an email").contains(device));

    let extended = "Permissions of a client were added";
    let audiences = format!("{} https://orders.example.com", root.claim("aud"));
    for (change, notices) in [
        (json!({"name": "renamed"}), 0),
        (json!({"scope": "items:read items:write"}), 1),
        (json!({"scope": "items:read items:write"}), 1),
        (json!({"scope": "items:read"}), 1),
        (json!({"audience": audiences}), 2),
        // Replaces a scope by another one.
        (json!({"scope": "items:write"}), 3),
    ] {
        let changed = call(Method::PATCH, path.clone(), change.clone()).await;
        changed.is(200, "");
        let count = count(&server, &mail_server, ROOT, extended).await;
        assert_eq!(count, notices, "{change}");
    }
}
