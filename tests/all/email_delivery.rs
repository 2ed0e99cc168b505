//! Delivery of emails by mail servers that reject, fail, or respond slowly.

use reqwest::Method;
use serde_json::json;

use crate::{
    mail::{
        MailServer, code,
        scripted::{CONTENT, Reply, ScriptedSmtp},
    },
    metrics, program,
    test_server::{PASSWORD, Session, TestServer, change, settings, wait_until},
    test_stores::{execute, query_value},
};

const JOHN: &str = "john@example.com";
const MARY: &str = "mary@example.com";

/// Starts a server with a mail server that follows this script, and with two users.
async fn start(
    script: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (TestServer, ScriptedSmtp) {
    let smtp = ScriptedSmtp::start(script).await;
    let url = format!(
        "smtp://latchkey:{PASSWORD}@{}?tls=opportunistic",
        smtp.address
    );
    let server = TestServer::with(&[("LATCHKEY_SMTP_URL", &url)]).await;
    server.sign_up_with_email("john", JOHN).await;
    server.sign_up_with_email("mary", MARY).await;
    (server, smtp)
}

async fn wait_for_email(smtp: &ScriptedSmtp, recipient: &str) -> String {
    wait_until(&format!("an email to {recipient}"), || async {
        !smtp.emails_to(recipient).is_empty()
    })
    .await;
    smtp.emails_to(recipient).remove(0).content
}

async fn pending(server: &TestServer) -> String {
    let pending = "select count(*) from email_outbox where sent_at is null";
    query_value(server, pending).await
}

/// A failure that an operator can correct keeps the email, and is reported with its cause.
#[tokio::test]
async fn rejected_credentials_and_senders_keep_emails() {
    let cases = [
        (
            "AUTH",
            "535 5.7.8 bad password 7",
            "signing in to the mail server (AUTH)",
            "535",
        ),
        (
            "MAIL",
            "550 5.7.60 not your sender 7",
            "sending the sender address (MAIL FROM)",
            "550",
        ),
        (
            "RCPT",
            "554 5.7.1 relaying denied 7",
            "sending the recipient address (RCPT TO)",
            "554",
        ),
        (
            "DATA",
            "554 5.3.2 out of service 7",
            "starting the content (DATA)",
            "554",
        ),
    ];
    for (command, response, step, status) in cases {
        let (server, smtp) = start(move |line| match line.starts_with(command) {
            true => Reply::Line(response),
            false => Reply::Accept,
        })
        .await;
        server.forgot_password(JOHN).await.is(202, "");
        server
            .wait_for_log(&["email delivery failed", step, response])
            .await;
        assert_eq!(pending(&server).await, "1", "{command}");
        let degraded = server.readiness().await.body["degraded"].to_string();
        let reason = format!("{step} failed with the code {status}");
        assert!(degraded.contains(&reason), "{degraded}");
        let failed = metrics::value(&server, "latchkey_emails_total{outcome=\"failed\"}").await;
        assert!(failed >= 1.0);
        smtp.follow(|_| Reply::Accept);
        let email = wait_for_email(&smtp, JOHN).await;
        assert!(code(&email).is_some(), "{email}");
        wait_until("the delivery is no longer degraded", || async {
            server.readiness().await.body["degraded"] == json!([])
        })
        .await;
    }
}

#[tokio::test]
async fn rejected_recipient_or_content_drops_email() {
    for (command, response) in [
        ("RCPT", "550 5.1.1 user unknown 7"),
        ("RCPT", "550 no such mailbox 7"),
        (CONTENT, "554 5.7.1 rejected as spam 7"),
    ] {
        let (server, _smtp) = start(move |line| match line.starts_with(command) {
            true => Reply::Line(response),
            false => Reply::Accept,
        })
        .await;
        server.forgot_password(JOHN).await.is(202, "");
        server.wait_for_log(&["email rejected", response]).await;
        wait_until("the email is dropped", || async {
            pending(&server).await == "0"
        })
        .await;
        let sent = "select attempts from email_outbox";
        assert_eq!(query_value(&server, sent).await, "1", "{response}");
        assert_eq!(server.readiness().await.body["degraded"], json!([]));
    }
}

/// A slow response neither delays emails to others, nor causes a second delivery, nor is taken for
/// the response to another email.
#[tokio::test]
async fn slow_response_delays_no_other_recipient() {
    let (server, smtp) = start(|line| match line.starts_with("RCPT TO:<john@") {
        true => Reply::Hold,
        false => Reply::Accept,
    })
    .await;
    let replica = server.replica().await;
    server.forgot_password(JOHN).await.is(202, "");
    let claimed = "select coalesce(max(claimed_until)::text, '') from email_outbox";
    wait_until("the email is being sent", || async {
        !query_value(&server, claimed).await.is_empty()
    })
    .await;
    // A second email to the same recipient waits, and one to another recipient doesn't.
    server.forgot_password(JOHN).await.is(202, "");
    replica.forgot_password(MARY).await.is(202, "");
    let email = wait_for_email(&smtp, MARY).await;
    assert!(email.contains(&format!("To: {MARY}")));
    // The claim is renewed, so no replica sends the email again.
    let first_claim = query_value(&server, claimed).await;
    wait_until("the claim is renewed", || async {
        query_value(&server, claimed).await > first_claim
    })
    .await;
    let attempts = "select string_agg(attempts::text, ',' order by attempts) from email_outbox";
    assert_eq!(query_value(&server, attempts).await, "0,1,1");
    assert!(smtp.emails_to(JOHN).is_empty());
    smtp.release();
    wait_until("all emails are sent", || async {
        pending(&server).await == "0"
    })
    .await;
    // The second request has replaced the code of the first one, whose email was already rendered.
    let codes: Vec<_> = smtp
        .emails_to(JOHN)
        .iter()
        .map(|email| code(&email.content).expect("a code"))
        .collect();
    assert_eq!(codes.len(), 2);
    assert_ne!(codes[0], codes[1]);
    assert_eq!(smtp.emails_to(MARY).len(), 1);
    for (address, emails) in [(JOHN, 2), (MARY, 1)] {
        let received = smtp.emails_to(address);
        assert_eq!(received.len(), emails);
        let to = format!("To: {address}\r\n");
        assert!(received.iter().all(|email| email.content.contains(&to)));
    }
}

/// Notices to slow recipients leave room for emails with codes.
#[tokio::test]
async fn codes_are_sent_before_notices() {
    let (server, smtp) = start(|line| match line.starts_with("RCPT TO:<slow") {
        true => Reply::Hold,
        false => Reply::Accept,
    })
    .await;
    let notices = "insert into email_outbox (id, template, user_id, recipient)
        select gen_random_uuid(), 'password_changed', u.id, 'slow' || n || '@example.com'
        from users u, generate_series(1, 8) n where username = 'john'";
    execute(&server, notices).await;
    server.forgot_password(JOHN).await.is(202, "");
    let email = wait_for_email(&smtp, JOHN).await;
    assert!(code(&email).is_some(), "{email}");
    let attempted = "select count(*) from email_outbox
        where attempts > 0 and template = 'password_changed'";
    wait_until("two notices are being sent", || async {
        query_value(&server, attempted).await == "2"
    })
    .await;
    smtp.release();
    wait_until("all emails are sent", || async {
        pending(&server).await == "0"
    })
    .await;
}

async fn change_password(server: &TestServer, session: &Session, from: &str, to: &str) {
    let body = json!({"current_password": from, "new_password": to});
    server
        .with_token(Method::POST, "/user/password", &session.access_token, body)
        .await
        .is(204, "");
}

/// A user can't send emails to the address of another person, or flood a mailbox.
#[tokio::test]
async fn notices_are_limited_and_only_for_verified_addresses() {
    let (server, mail_server) = TestServer::with_mail(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_EMAIL", "3/1h"),
    ])
    .await;
    let other = "correct horse 9";
    let session = server.sign_up_with_email("john", JOHN).await;
    for (from, to) in [(PASSWORD, other), (other, PASSWORD)] {
        change_password(&server, &session, from, to).await;
    }
    let enqueued = "select count(*) from email_outbox";
    assert_eq!(query_value(&server, enqueued).await, "0");
    execute(&server, "update users set email_verified = true").await;
    for _ in 0..4 {
        change_password(&server, &session, PASSWORD, other).await;
        change_password(&server, &session, other, PASSWORD).await;
    }
    wait_until("all emails are processed", || async {
        pending(&server).await == "0"
    })
    .await;
    let over_quota = "latchkey_emails_total{outcome=\"over_quota\"}";
    assert_eq!(metrics::value(&server, over_quota).await, 5.0);
    assert_eq!(mail_server.emails_to(JOHN).len(), 3);
    // Notices don't use up the quota of codes.
    mail_server.reset_code(&server, JOHN).await;
}

/// The command requires no store: nothing listens at the addresses of these.
#[tokio::test]
async fn operator_can_send_test_email() {
    let mail_server = MailServer::start().await;
    let rejecting = ScriptedSmtp::start(|line| match line.starts_with("MAIL") {
        true => Reply::Line("550 5.7.60 not your sender"),
        false => Reply::Accept,
    })
    .await;
    let rejection = "sending the sender address (MAIL FROM): 550 5.7.60 not your sender";
    for (url, code, output) in [
        (
            mail_server.url(),
            0,
            "has accepted a test email to john@example.com",
        ),
        (rejecting.url(), 1, rejection),
        ("off".to_owned(), 2, "email is disabled"),
    ] {
        let stores = ("postgres://127.0.0.1:1/latchkey", "redis://127.0.0.1:1");
        let with_stores = settings(stores.0, stores.1, "test");
        let settings = change(with_stores, &[("LATCHKEY_SMTP_URL", &url)]);
        let command = || program::run(&["mail", "test", JOHN], settings, "");
        let result = tokio::task::spawn_blocking(command)
            .await
            .expect("the task runs");
        let text = [result.stdout, result.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        assert_eq!(result.status.code(), Some(code), "{text}");
        assert!(text.contains(output), "{text}");
    }
    let emails = mail_server.emails_to(JOHN);
    assert_eq!(emails.len(), 1);
    assert!(
        emails[0].contains("Subject: Test email from"),
        "{}",
        emails[0]
    );
}
