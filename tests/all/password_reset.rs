//! Tests of the password reset with a one-time code, which revokes all older credentials.

mod delivery; // delivery of emails in spite of failures
mod guessing; // codes of other users, invalidated codes, and rate limits

use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{RowLock, connect, connect_redis, redis_prefix},
};

const EMAIL: &str = "john@example.com";
const NEW_PASSWORD: &str = "correct horse 9";

/// Starts a server with its own SMTP server and a signed-in user.
async fn start_with_user_and(changes: &[(&str, &str)]) -> (TestServer, MailServer, Session) {
    let (server, mail_server) = TestServer::with_mail(changes).await;
    let session = server.sign_up_with_email("john", EMAIL).await;
    (server, mail_server, session)
}

async fn start_with_user() -> (TestServer, MailServer, Session) {
    start_with_user_and(&[]).await
}

/// Returns the headers without those that differ between equal responses.
pub fn comparable_headers(response: &TestResponse) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    headers
        .filter(|(name, _)| !["date", "x-request-id", "retry-after"].contains(&name.as_str()))
        .collect()
}

#[tokio::test]
async fn unknown_email_address_gets_same_response() {
    let (server, mail_server, _) = start_with_user().await;
    let (known, unknown) = (
        server.forgot_password(EMAIL).await,
        server.forgot_password("unknown@example.com").await,
    );
    known.is(202, "");
    unknown.is(202, "");
    assert_eq!(known.bytes, unknown.bytes);
    assert_eq!(comparable_headers(&known), comparable_headers(&unknown));
    mail_server.wait_for(EMAIL, 1).await;
    assert!(mail_server.emails_to("unknown@example.com").is_empty());
}

#[tokio::test]
async fn email_is_sent_only_to_stored_address() {
    let (server, mail_server, _) = start_with_user().await;
    server.sign_up_with_email("mary", "Mary@Example.com").await;
    server.forgot_password("mARY@eXAMPLE.com").await.is(202, "");
    assert_eq!(mail_server.wait_for("Mary@Example.com", 1).await.len(), 1);
    assert_eq!(
        mail_server.emails_to("").len(),
        1,
        "no other email was sent"
    );
}

#[tokio::test]
async fn email_has_text_and_html_and_no_code_in_subject() {
    let (server, mail_server, _) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let email = mail_server.emails_to(EMAIL).remove(0);
    for part in [
        "Content-Type: text/plain",
        "Content-Type: text/html",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(email.contains(part), "{part}: {email}");
    }
    let subject = email
        .lines()
        .find(|line| line.starts_with("Subject:"))
        .expect("a subject");
    assert!(
        remove_soft_line_breaks(&email).contains("The code expires in 10 minutes"),
        "{email}"
    );
    assert!(
        !subject.contains(&code) && !subject.contains(&code.replace('-', "")),
        "{subject}"
    );
    assert!(
        remove_soft_line_breaks(&email).contains("your Latchkey account"),
        "the name of the service: {email}"
    );
}

#[tokio::test]
async fn host_header_is_not_used_in_email() {
    let (server, mail_server, _) = start_with_user().await;
    let request = server
        .request(Method::POST, "/password/forgot")
        .json(&json!({"email": EMAIL}));
    let request = request
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example");
    server.send(request).await.is(202, "");
    let email = remove_soft_line_breaks(&mail_server.wait_for(EMAIL, 1).await[0]);
    assert!(!email.contains("evil.example"), "{email}");
}

#[tokio::test]
async fn reset_email_contains_browser_ip_address_and_time() {
    let (server, mail_server, _) = start_with_user().await;
    let request = server
        .request(Method::POST, "/password/forgot")
        .header("user-agent", "curl/8.5.0")
        .json(&json!({"email": EMAIL}));
    server.send(request).await.is(202, "");
    let email = remove_soft_line_breaks(&mail_server.wait_for(EMAIL, 1).await[0]);
    let year = time::OffsetDateTime::now_utc().year();
    assert!(
        email.contains("The request came from curl (IP address 127.0.0.1) on ")
            && email.contains(&format!(", {year} at ")),
        "{email}"
    );
}

/// Removes the soft line breaks of the quoted-printable encoding.
fn remove_soft_line_breaks(email: &str) -> String {
    email.replace("=\r\n", "").replace("=\n", "")
}

#[tokio::test]
async fn reset_revokes_sessions_and_old_password_on_all_replicas() {
    let (server, mail_server, old_session) = start_with_user().await;
    let second = server.replica().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    second
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    for replica in [&server, &second] {
        replica.rejects(&old_session).await;
        replica
            .try_sign_in("john", PASSWORD)
            .await
            .is(401, "invalid_credentials");
    }
    let new = Session::of(server.try_sign_in("john", NEW_PASSWORD).await.is(200, ""));
    let user = second
        .with_token(Method::GET, "/user", &new.access_token, Value::Null)
        .await;
    assert_eq!(
        (user.status, &user.body["email_verified"]),
        (200, &Value::Bool(true))
    );
}

#[tokio::test]
async fn reset_creates_no_session_and_notifies_user() {
    let (server, mail_server, _) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let response = server.reset_password(EMAIL, &code, NEW_PASSWORD).await;
    assert!(response.is(204, "").bytes.is_empty() && !response.headers.contains_key("set-cookie"));
    let database = connect(server.setting("DATABASE_URL")).await;
    let active_sessions = database
        .query_one(
            "select count(*) from sessions where revoked_at is null",
            &[],
        )
        .await
        .expect("a count");
    assert_eq!(active_sessions.get::<_, i64>(0), 0);
    let emails = mail_server.wait_for(EMAIL, 2).await;
    assert_eq!(
        emails
            .iter()
            .filter(|email| email.contains("Subject: Your password was changed"))
            .count(),
        1
    );
}

/// A row lock blocks the first commit until each other request has a response or waits for the
/// lock, so that the requests overlap.
#[tokio::test]
async fn concurrent_resets_with_one_code_succeed_once() {
    let (server, mail_server, _) = start_with_user().await;
    let second = server.replica().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let passwords: Vec<String> = (0..8)
        .map(|number| format!("{NEW_PASSWORD} number {number}"))
        .collect();
    let (replicas, completed) = ([&server, &second], AtomicUsize::new(0));
    let attempts = passwords
        .iter()
        .enumerate()
        .map(async |(number, password)| {
            let response = replicas[number % 2]
                .reset_password(EMAIL, &code, password)
                .await;
            completed.fetch_add(1, Ordering::SeqCst);
            (response.status, response.code())
        });
    let lock = lock_users(
        &server,
        |waiting| waiting + completed.load(Ordering::SeqCst) == 8,
        || (),
    );
    let (responses, ()) = tokio::join!(join_all(attempts), lock);
    assert_eq!(
        responses
            .iter()
            .filter(|(status, _)| *status == 204)
            .count(),
        1,
        "{responses:?}"
    );
    let expected_codes = ["", "busy", "invalid_code", "too_many_requests"];
    assert!(
        responses
            .iter()
            .all(|(_, code)| expected_codes.contains(&code.as_str())),
        "{responses:?}"
    );
    let sign_ins = join_all(
        passwords
            .iter()
            .map(|password| server.try_sign_in("john", password)),
    )
    .await;
    let accepted: Vec<_> = sign_ins
        .iter()
        .map(|response| response.status == 200)
        .collect();
    assert_eq!(
        accepted,
        responses
            .iter()
            .map(|(status, _)| *status == 204)
            .collect::<Vec<_>>(),
        "only the password of the successful reset is valid"
    );
}

/// Locks all users until the number of waiting statements suffices, runs an action, and unlocks.
async fn lock_users(
    server: &TestServer,
    is_sufficient: impl Fn(usize) -> bool,
    action: impl FnOnce(),
) {
    let lock = RowLock::rows(server, "select from users").await;
    wait_until("statements wait for the lock", || async {
        is_sufficient(lock.waiting().await)
    })
    .await;
    action();
    lock.release().await;
}

/// Simulates a failover in which Redis loses its latest writes.
#[tokio::test]
async fn code_restored_in_redis_cannot_be_used_again() {
    let (server, mail_server, session) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let (mut redis, key) = (
        connect_redis(server.setting("REDIS_URL")).await,
        code_key(&server, &session).await,
    );
    let dump: Vec<u8> = cmd("DUMP")
        .arg(&key)
        .query_async(&mut redis)
        .await
        .expect("a code in Redis");
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    let restored = cmd("RESTORE")
        .arg(&key)
        .arg(0)
        .arg(dump)
        .query_async::<String>(&mut redis)
        .await;
    assert_eq!(restored.expect("a key that was deleted before"), "OK");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server
        .try_sign_in("john", "another password 7")
        .await
        .is(401, "invalid_credentials");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
}

async fn code_key(server: &TestServer, session: &Session) -> String {
    let (prefix, claims) = (redis_prefix(server).await, session.claims());
    format!(
        "{prefix}:{{{}}}:code:password_reset",
        claims["sub"].as_str().expect("a user ID")
    )
}

#[tokio::test]
async fn code_works_once() {
    let (server, mail_server, _) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    server
        .try_sign_in("john", "another password 7")
        .await
        .is(401, "invalid_credentials");
}

#[tokio::test]
async fn code_accepts_lower_case_spaces_and_similar_characters() {
    let (server, mail_server, _) = start_with_user().await;
    let mut used_codes: Vec<String> = Vec::new();
    let spellings: [fn(&str) -> String; 3] = [
        |code| format!(" {} ", code.to_lowercase().replace('-', " ")),
        |code| code.replace('-', "").replace('0', "O").replace('1', "l"),
        |code| code.chars().map(|c| format!("{c} ")).collect(),
    ];
    for (round, spell) in spellings.into_iter().enumerate() {
        server.forgot_password(EMAIL).await.is(202, "");
        let new_code = wait_for_new_code(&mail_server, &used_codes).await;
        server
            .reset_password(EMAIL, &spell(&new_code), &format!("{NEW_PASSWORD} {round}"))
            .await
            .is(204, "");
        used_codes.push(new_code);
    }
}

/// Waits for an email with a code that isn't in the list.
async fn wait_for_new_code(mail_server: &MailServer, used_codes: &[String]) -> String {
    let find_code = || {
        mail_server
            .emails_to(EMAIL)
            .iter()
            .filter_map(|email| code(email))
            .find(|code| !used_codes.contains(code))
    };
    wait_until("an email with a new code", || async {
        find_code().is_some()
    })
    .await;
    find_code().expect("a new code")
}

#[tokio::test]
async fn weak_password_does_not_consume_code() {
    let (server, mail_server, old_session) = start_with_user().await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    for weak in ["short", "password123"] {
        server
            .reset_password(EMAIL, &code, weak)
            .await
            .is(400, "weak_password");
    }
    assert_eq!(
        server.verify(&old_session.access_token).await.0,
        204,
        "no session was revoked"
    );
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn disabled_email_returns_501_and_queues_nothing() {
    let server = TestServer::shared().await;
    server.sign_up_with_email("john", EMAIL).await;
    for email in [EMAIL, "unknown@example.com"] {
        server
            .forgot_password(email)
            .await
            .is(501, "email_disabled");
    }
    let database = connect(server.setting("DATABASE_URL")).await;
    assert!(
        database
            .query("select from email_outbox", &[])
            .await
            .expect("rows")
            .is_empty()
    );
}

#[tokio::test]
async fn invalid_email_address_is_rejected() {
    let (server, mail_server, _) = start_with_user().await;
    let invalid = [
        json!("john@example.com,evil@example.com"),
        json!("john@example.com;evil@example.com"),
        json!("john@example.com evil@example.com"),
        json!("john@example.com\r\nBcc: evil@example.com"),
        json!("john@example.com\n"),
        json!("john@example.com\u{0}"),
        json!("jоhn@example.com"),
        json!("John <john@example.com>"),
        json!(["john@example.com", "evil@example.com"]),
        json!({"0": "john@example.com"}),
    ];
    for email in invalid {
        let response = server
            .post("/password/forgot", json!({"email": email}))
            .await;
        response.is(400, "invalid_request");
        assert_eq!(response.body["errors"][0]["field"], "email", "{email}");
        assert!(
            !response.string().contains("evil"),
            "the error omits the value"
        );
    }
    let database = connect(server.setting("DATABASE_URL")).await;
    assert!(
        database
            .query("select from email_outbox", &[])
            .await
            .expect("rows")
            .is_empty()
    );
    assert!(mail_server.emails_to("").is_empty());
}

/// A lock delays the commit until Redis is unreachable, so the commit succeeds and its publication
/// fails.
#[tokio::test]
async fn repeated_reset_publishes_unpublished_revocation() {
    let proxy = Proxy::to_redis().await;
    let (server, mail_server, old_session) =
        start_with_user_and(&[("REDIS_URL", &proxy.redis_url())]).await;
    let code = mail_server.reset_code(&server, EMAIL).await;
    let lock = lock_users(
        &server,
        |waiting| waiting > 0,
        || proxy.set(ConnectionState::Cut),
    );
    let (response, ()) = tokio::join!(server.reset_password(EMAIL, &code, NEW_PASSWORD), lock);
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
    proxy.set(ConnectionState::Open);
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    server.rejects(&old_session).await;
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(400, "invalid_code");
}
