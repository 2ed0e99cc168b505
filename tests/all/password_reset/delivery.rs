//! What was promised with a 202 is delivered, whoever fails in between.

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

use super::{EMAIL, NEW, john, john_with};
use crate::{
    mail::code,
    metrics,
    test_server::{TestServer, until},
    test_stores::{connect, execute},
};

async fn a_mail_failed(server: &TestServer) {
    server.until_logged(&["email delivery failed"]).await;
}

/// What a statement counts in the gateway's database.
async fn count(server: &TestServer, statement: &str) -> i64 {
    connect(server.setting("DATABASE_URL"))
        .await
        .query_one(statement, &[])
        .await
        .expect("a count")
        .get(0)
}

#[tokio::test]
async fn a_mail_server_that_comes_back_gets_the_mail() {
    let (server, mut mails, _) = john().await;
    mails.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    a_mail_failed(&server).await;
    mails.start_again();
    let code = mails.code_for(EMAIL).await;
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
}

#[tokio::test]
async fn file_transport_writes_private_eml_files() {
    let parent = tempfile::tempdir().expect("a folder");
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
    let is_email = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "eml");
    until("the email is there", || async {
        files().iter().any(is_email)
    })
    .await;
    let [file] = files().try_into().expect("one file and no unfinished one");
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let text = fs::read_to_string(&file).expect("text");
    let id = file.file_stem().expect("a name").to_string_lossy();
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
        .reset_password(EMAIL, &code(&text).expect("a code"), NEW)
        .await
        .is(204, "");
}

#[tokio::test]
async fn a_gateway_that_was_killed_delivers_when_it_is_back() {
    let (mut server, mut mails, _) = john().await;
    mails.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    server.kill();
    // If it died between a try and what came of it, the next one would be a minute away.
    let due = "update email_outbox \
         set next_attempt_at = least(next_attempt_at, now() + interval '15 seconds')";
    execute(&server, due).await;
    mails.start_again();
    assert!(
        mails.mails_to(EMAIL).is_empty(),
        "it was promised, not sent"
    );
    let next = server.replica().await;
    let code = mails.code_for(EMAIL).await;
    next.reset_password(EMAIL, &code, NEW).await.is(204, "");
}

#[tokio::test]
async fn two_replicas_send_a_mail_once() {
    let (server, mails, _) = john().await;
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
    let waiting = "select count(*) from email_outbox where sent_at is null";
    until("all are sent", || async {
        count(&server, waiting).await == 0
    })
    .await;
    for number in 0..6 {
        assert_eq!(
            mails.mails_to(&format!("user{number}@example.com")).len(),
            1
        );
    }
}

#[tokio::test]
async fn a_code_that_died_before_it_was_sent_is_replaced() {
    let (server, mut mails, _) = john_with(&[("LATCHKEY_CODE_LIFETIME", "12s")]).await;
    mails.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    // Less than half of its life is left by then: it would be dead when it is read.
    until("it is replaced", || async {
        count(&server, "select count(*) from email_outbox").await > 1
    })
    .await;
    mails.start_again();
    let code = mails.code_for(EMAIL).await;
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
    let codes = mails
        .mails_to(EMAIL)
        .iter()
        .filter(|mail| code_in(mail))
        .count();
    assert_eq!(codes, 1, "the dead one was never sent");
}

fn code_in(mail: &str) -> bool {
    code(mail).is_some()
}

#[tokio::test]
async fn a_mail_that_waits_goes_to_nobody_when_the_account_is_gone() {
    let (server, mut mails, john) = john().await;
    mails.stop();
    server.forgot_password(EMAIL).await.is(202, "");
    a_mail_failed(&server).await;
    let deleted = server.with_token(
        reqwest::Method::DELETE,
        "/user",
        &john.access_token,
        serde_json::Value::Null,
    );
    deleted.await.is(204, "");
    mails.start_again();
    // A mail that is promised later arrives, so the worker has been past the one that is gone.
    server.sign_up_with_email("mary", "mary@example.com").await;
    server.forgot_password("mary@example.com").await.is(202, "");
    mails.wait_for("mary@example.com", 1).await;
    assert!(mails.mails_to(EMAIL).is_empty());
    let waiting = || async {
        count(
            &server,
            "select count(*) from email_outbox where sent_at is null",
        )
        .await
            == 0
    };
    until("nothing waits", waiting).await;
}

#[tokio::test]
async fn a_mail_that_can_never_be_sent_holds_up_no_other() {
    let (server, mails, _) = john().await;
    let row = "insert into email_outbox (id, template, user_id, recipient, attempts) \
               select gen_random_uuid(), 'password_changed', id, 'no address', 1000 from users";
    execute(&server, row).await;
    a_mail_failed(&server).await;
    let code = mails.reset_code(&server, EMAIL).await;
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
    assert_eq!(
        count(
            &server,
            "select count(*) from email_outbox where sent_at is null and attempts > 1000"
        )
        .await,
        1
    );
}

/// A mail server that knows nobody, and says so for good.
async fn unwilling_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(refuse_recipients(client));
        }
    });
    url
}

async fn refuse_recipients(client: TcpStream) -> std::io::Result<()> {
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
async fn a_mail_that_is_refused_for_good_is_given_up_at_once() {
    let server = TestServer::with(&[("LATCHKEY_SMTP_URL", &unwilling_server().await)]).await;
    server.sign_up_with_email("john", EMAIL).await;
    server.forgot_password(EMAIL).await.is(202, "");
    let outcome = |label| metrics::value(&server, label);
    let tried = || async {
        outcome("latchkey_emails_total{outcome=\"rejected\"}").await
            + outcome("latchkey_emails_total{outcome=\"failed\"}").await
    };
    until("it is tried", || async { tried().await > 0.0 }).await;
    assert_eq!(
        count(
            &server,
            "select count(*) from email_outbox where attempts = 1 and sent_at is not null"
        )
        .await,
        1
    );
    assert_eq!(
        outcome("latchkey_emails_total{outcome=\"rejected\"}").await,
        1.0
    );
}
