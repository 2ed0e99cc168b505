//! Tests of email delivery: an email that the server accepted with 202 is delivered in spite of
//! failures.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use latchkey_dev::mailbox::read_emails;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

use super::{EMAIL, NEW_PASSWORD, start_with_user, start_with_user_and};
use crate::{
    mail::code,
    metrics,
    test_server::{TestServer, wait_until},
    test_stores::{connect, execute},
};

async fn wait_for_failed_delivery(server: &TestServer) {
    server.wait_for_log(&["email delivery failed"]).await;
}

/// Returns the count that a statement selects.
async fn count(server: &TestServer, statement: &str) -> i64 {
    connect(server.setting("DATABASE_URL"))
        .await
        .query_one(statement, &[])
        .await
        .expect("a count")
        .get(0)
}

#[tokio::test]
async fn email_is_delivered_after_smtp_outage() {
    let (server, mut mail_server, _) = start_with_user().await;
    mail_server.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    wait_for_failed_delivery(&server).await;
    let is_degraded = async || {
        let degraded = server.readiness().await.body["degraded"].to_string();
        degraded.contains("The last attempt to send an email failed")
    };
    assert!(is_degraded().await);
    mail_server.restart();
    let code = mail_server.code_for(EMAIL).await;
    wait_until("the delivery is no longer degraded", || async {
        !is_degraded().await
    })
    .await;
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn file_transport_writes_private_eml_files() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("email");
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", "http://127.0.0.1:8000"),
        ("LATCHKEY_SMTP_URL", &format!("file:{}", folder.display())),
    ])
    .await;
    server.sign_up_with_email("john", EMAIL).await;
    server.forgot_password(EMAIL).await.is(202, "");
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_email = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "eml");
    wait_until("the email is written", || async {
        files().iter().any(is_email)
    })
    .await;
    let [file] = files().try_into().expect("one file and no temporary file");
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("an existing file")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let text = fs::read_to_string(&file).expect("UTF-8");
    let id = file.file_stem().expect("a file name").to_string_lossy();
    for part in [
        &format!("To: {EMAIL}\r\n"),
        &format!("Message-ID: <{id}@localhost>\r\n"),
        "Subject: ",
        "Date: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let [email] = read_emails(&folder).try_into().expect("one email");
    assert_eq!(email.to, EMAIL);
    assert!(text.contains(&format!("Subject: {}\r\n", email.subject)));
    assert_eq!(code(&email.text), code(&text));
    server
        .reset_password(EMAIL, &code(&text).expect("a code"), NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn email_is_delivered_after_server_was_killed() {
    let (mut server, mut mail_server, _) = start_with_user().await;
    mail_server.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    server.kill();
    // If the kill interrupted a delivery attempt, the next attempt would start only after a minute.
    let due = "update email_outbox \
         set next_attempt_at = least(next_attempt_at, now() + interval '15 seconds')";
    execute(&server, due).await;
    mail_server.restart();
    assert!(
        mail_server.emails_to(EMAIL).is_empty(),
        "the email isn't sent yet"
    );
    let restarted = server.replica().await;
    let code = mail_server.code_for(EMAIL).await;
    restarted
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn two_replicas_send_each_email_once() {
    let (server, mail_server, _) = start_with_user().await;
    let second = server.replica().await;
    for number in 0..6 {
        let email = format!("user{number}@example.com");
        server
            .sign_up_with_email(&format!("user{number}"), &email)
            .await;
        [&server, &second][number % 2]
            .forgot_password(&email)
            .await
            .is(202, "");
    }
    let pending = "select count(*) from email_outbox where sent_at is null";
    wait_until("all emails are sent", || async {
        count(&server, pending).await == 0
    })
    .await;
    for number in 0..6 {
        assert_eq!(
            mail_server
                .emails_to(&format!("user{number}@example.com"))
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn code_with_short_remaining_lifetime_is_replaced() {
    let (server, mut mail_server, _) =
        start_with_user_and(&[("LATCHKEY_CODE_LIFETIME", "12s")]).await;
    mail_server.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    // The worker replaces a code with less than half of its lifetime left, because it could expire
    // before the user reads it.
    wait_until("the code is replaced", || async {
        count(&server, "select count(*) from email_outbox").await > 1
    })
    .await;
    mail_server.restart();
    let code = mail_server.code_for(EMAIL).await;
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    let codes = mail_server
        .emails_to(EMAIL)
        .iter()
        .filter(|email| contains_code(email))
        .count();
    assert_eq!(codes, 1, "the replaced code was never sent");
}

fn contains_code(email: &str) -> bool {
    code(email).is_some()
}

#[tokio::test]
async fn pending_email_of_deleted_user_is_not_sent() {
    let (server, mut mail_server, session) = start_with_user().await;
    mail_server.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    wait_for_failed_delivery(&server).await;
    let deletion = server.with_token(
        reqwest::Method::DELETE,
        "/user",
        &session.access_token,
        serde_json::Value::Null,
    );
    deletion.await.is(204, "");
    mail_server.restart();
    // A later email arrives, so the mail worker has already processed the pending one.
    server.sign_up_with_email("mary", "mary@example.com").await;
    server.forgot_password("mary@example.com").await.is(202, "");
    mail_server.wait_for("mary@example.com", 1).await;
    assert!(mail_server.emails_to(EMAIL).is_empty());
    let is_outbox_empty = || async {
        count(
            &server,
            "select count(*) from email_outbox where sent_at is null",
        )
        .await
            == 0
    };
    wait_until("no email is pending", is_outbox_empty).await;
}

#[tokio::test]
async fn undeliverable_email_does_not_delay_others() {
    let (server, mail_server, _) = start_with_user().await;
    let row = "insert into email_outbox (id, template, user_id, recipient, attempts) \
               select gen_random_uuid(), 'password_changed', id, 'no address', 1000 from users";
    execute(&server, row).await;
    wait_for_failed_delivery(&server).await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    assert_eq!(
        count(
            &server,
            "select count(*) from email_outbox where sent_at is null and attempts > 1000"
        )
        .await,
        1
    );
}

/// Starts an SMTP server that permanently rejects all recipients, and returns its URL.
async fn start_rejecting_smtp_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(reject_recipients(client));
        }
    });
    url
}

async fn reject_recipients(client: TcpStream) -> std::io::Result<()> {
    let mut client = BufStream::new(client);
    let mut response = "220 ready\r\n";
    loop {
        client.write_all(response.as_bytes()).await?;
        client.flush().await?;
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        response = if line.starts_with("RCPT") {
            "550 no such mailbox\r\n"
        } else {
            "250 fine\r\n"
        };
    }
}

#[tokio::test]
async fn permanently_rejected_email_is_not_retried() {
    let server =
        TestServer::with(&[("LATCHKEY_SMTP_URL", &start_rejecting_smtp_server().await)]).await;
    server.sign_up_with_email("john", EMAIL).await;
    server.forgot_password(EMAIL).await.is(202, "");
    let metric = |name| metrics::value(&server, name);
    let attempts = || async {
        metric("latchkey_emails_total{outcome=\"rejected\"}").await
            + metric("latchkey_emails_total{outcome=\"failed\"}").await
    };
    wait_until("a delivery attempt", || async { attempts().await > 0.0 }).await;
    assert_eq!(
        count(
            &server,
            "select count(*) from email_outbox where attempts = 1 and sent_at is not null"
        )
        .await,
        1
    );
    assert_eq!(
        metric("latchkey_emails_total{outcome=\"rejected\"}").await,
        1.0
    );
}
