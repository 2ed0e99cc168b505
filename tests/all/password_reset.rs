//! Forgotten passwords: a code by mail, used once, and afterwards nothing older is good.

mod delivery; // mail servers and gateways that fail
mod guessing; // codes of others, old codes, and the bound on tries

use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{Held, connect, connect_redis},
};

const EMAIL: &str = "john@example.com";
const NEW: &str = "correct horse 9";

/// A gateway that sends to a mail server of its own, with John, who is signed in.
async fn john_with(changes: &[(&str, &str)]) -> (TestServer, MailServer, Session) {
    let (server, mails) = TestServer::with_mail(changes).await;
    let john = server.sign_up_with_email("john", EMAIL).await;
    (server, mails, john)
}

async fn john() -> (TestServer, MailServer, Session) {
    john_with(&[]).await
}

/// Headers without those that differ from answer to answer.
fn steady_headers(response: &TestResponse) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let all = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    all.filter(|(name, _)| !["date", "x-request-id", "retry-after"].contains(&name.as_str()))
        .collect()
}

#[tokio::test]
async fn an_unknown_address_is_answered_like_a_known_one() {
    let (server, mails, _) = john().await;
    let (known, unknown) = (
        server.forgot_password(EMAIL).await,
        server.forgot_password("nobody@example.com").await,
    );
    known.is(202, "");
    unknown.is(202, "");
    assert_eq!(known.bytes, unknown.bytes);
    assert_eq!(steady_headers(&known), steady_headers(&unknown));
    mails.wait_for(EMAIL, 1).await;
    assert!(mails.mails_to("nobody@example.com").is_empty());
}

#[tokio::test]
async fn the_mail_goes_to_the_stored_address_and_nowhere_else() {
    let (server, mails, _) = john().await;
    server.sign_up_with_email("mary", "Mary@Example.com").await;
    server.forgot_password("mARY@eXAMPLE.com").await.is(202, "");
    assert_eq!(mails.wait_for("Mary@Example.com", 1).await.len(), 1);
    assert_eq!(mails.mails_to("").len(), 1, "every mail there is");
}

#[tokio::test]
async fn the_mail_can_be_read_anywhere_and_its_subject_tells_no_code() {
    let (server, mails, _) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    let mail = mails.mails_to(EMAIL).remove(0);
    for part in [
        "Content-Type: text/plain",
        "Content-Type: text/html",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    let subject = mail
        .lines()
        .find(|line| line.starts_with("Subject:"))
        .expect("a subject");
    assert!(
        unfolded(&mail).contains("It expires in 10 minutes"),
        "{mail}"
    );
    assert!(
        !subject.contains(&code) && !subject.contains(&code.replace('-', "")),
        "{subject}"
    );
    assert!(
        unfolded(&mail).contains("your auth.example.com account"),
        "the configured host: {mail}"
    );
}

#[tokio::test]
async fn a_host_header_does_not_reach_the_mail() {
    let (server, mails, _) = john().await;
    let request = server
        .request(Method::POST, "/password/forgot")
        .json(&json!({"email": EMAIL}));
    let request = request
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example");
    server.send(request).await.is(202, "");
    let mail = unfolded(&mails.wait_for(EMAIL, 1).await[0]);
    assert!(!mail.contains("evil.example"), "{mail}");
}

#[tokio::test]
async fn reset_email_names_browser_ip_address_and_time() {
    let (server, mails, _) = john().await;
    let request = server
        .request(Method::POST, "/password/forgot")
        .header("user-agent", "curl/8.5.0")
        .json(&json!({"email": EMAIL}));
    server.send(request).await.is(202, "");
    let mail = unfolded(&mails.wait_for(EMAIL, 1).await[0]);
    let year = time::OffsetDateTime::now_utc().year();
    assert!(
        mail.contains("Request from curl, IP address 127.0.0.1, on ")
            && mail.contains(&format!(", {year} at ")),
        "{mail}"
    );
}

/// Without the line breaks that quoted-printable adds.
fn unfolded(mail: &str) -> String {
    mail.replace("=\r\n", "").replace("=\n", "")
}

#[tokio::test]
async fn afterwards_nothing_older_is_good_on_any_replica() {
    let (server, mails, old) = john().await;
    let second = server.replica().await;
    let code = mails.reset_code(&server, EMAIL).await;
    second.reset_password(EMAIL, &code, NEW).await.is(204, "");
    for replica in [&server, &second] {
        replica.rejects(&old).await;
        replica
            .log_in("john", PASSWORD)
            .await
            .is(401, "invalid_credentials");
    }
    let new = Session::of(server.log_in("john", NEW).await.is(200, ""));
    let user = second
        .with_token(Method::GET, "/user", &new.access_token, Value::Null)
        .await;
    assert_eq!(
        (user.status, &user.body["email_verified"]),
        (200, &Value::Bool(true))
    );
}

#[tokio::test]
async fn a_reset_signs_nobody_in_and_tells_the_owner() {
    let (server, mails, _) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    let response = server.reset_password(EMAIL, &code, NEW).await;
    assert!(response.is(204, "").bytes.is_empty() && !response.headers.contains_key("set-cookie"));
    let sessions = connect(server.setting("DATABASE_URL")).await;
    let live = sessions
        .query_one(
            "select count(*) from sessions where revoked_at is null",
            &[],
        )
        .await
        .expect("a count");
    assert_eq!(live.get::<_, i64>(0), 0);
    let told = mails.wait_for(EMAIL, 2).await;
    assert_eq!(
        told.iter()
            .filter(|mail| mail.contains("Subject: Your password was changed"))
            .count(),
        1
    );
}

/// The commit of whoever is first is held up until the others have been answered or wait as well.
#[tokio::test]
async fn of_eight_at_once_with_one_code_one_succeeds() {
    let (server, mails, _) = john().await;
    let second = server.replica().await;
    let code = mails.reset_code(&server, EMAIL).await;
    let passwords: Vec<String> = (0..8)
        .map(|number| format!("{NEW} number {number}"))
        .collect();
    let (replicas, answered) = ([&server, &second], AtomicUsize::new(0));
    let tries = passwords.iter().enumerate().map(async |(n, password)| {
        let response = replicas[n % 2].reset_password(EMAIL, &code, password).await;
        answered.fetch_add(1, Ordering::SeqCst);
        (response.status, response.code())
    });
    let held = hold_the_users(
        &server,
        |waiting| waiting + answered.load(Ordering::SeqCst) == 8,
        || (),
    );
    let (responses, ()) = tokio::join!(join_all(tries), held);
    assert_eq!(
        responses
            .iter()
            .filter(|(status, _)| *status == 204)
            .count(),
        1,
        "{responses:?}"
    );
    let refusals = ["", "busy", "invalid_code", "too_many_requests"];
    assert!(
        responses
            .iter()
            .all(|(_, code)| refusals.contains(&code.as_str())),
        "{responses:?}"
    );
    let signed_in = join_all(
        passwords
            .iter()
            .map(|password| server.log_in("john", password)),
    )
    .await;
    let welcome: Vec<_> = signed_in
        .iter()
        .map(|response| response.status == 200)
        .collect();
    assert_eq!(
        welcome,
        responses
            .iter()
            .map(|(status, _)| *status == 204)
            .collect::<Vec<_>>(),
        "no other password"
    );
}

/// Locks all users until enough statements wait for that, does something, and lets go.
async fn hold_the_users(server: &TestServer, enough: impl Fn(usize) -> bool, then: impl FnOnce()) {
    let held = Held::rows(server, "select from users").await;
    until("enough wait for the users", || async {
        enough(held.waiting().await)
    })
    .await;
    then();
    held.release().await;
}

/// Redis forgets what it was told a moment ago, as it may after a failover.
#[tokio::test]
async fn the_record_decides_that_a_code_was_used() {
    let (server, mails, john) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    let (mut redis, key) = (
        connect_redis(server.setting("REDIS_URL")).await,
        code_key(&server, &john),
    );
    let dump: Vec<u8> = cmd("DUMP")
        .arg(&key)
        .query_async(&mut redis)
        .await
        .expect("it is there");
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
    let restored = cmd("RESTORE")
        .arg(&key)
        .arg(0)
        .arg(dump)
        .query_async::<String>(&mut redis)
        .await;
    assert_eq!(restored.expect("it was gone"), "OK");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server
        .log_in("john", "another password 7")
        .await
        .is(401, "invalid_credentials");
    server.log_in("john", NEW).await.is(200, "");
}

fn code_key(server: &TestServer, session: &Session) -> String {
    let (prefix, claims) = (server.setting("LATCHKEY_REDIS_PREFIX"), session.claims());
    format!(
        "{prefix}:{{{}}}:code:password_reset",
        claims["sub"].as_str().expect("a user")
    )
}

#[tokio::test]
async fn a_code_works_once() {
    let (server, mails, _) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
    server
        .reset_password(EMAIL, &code, "another password 7")
        .await
        .is(400, "invalid_code");
    server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(400, "invalid_code");
    server.log_in("john", NEW).await.is(200, "");
    server
        .log_in("john", "another password 7")
        .await
        .is(401, "invalid_credentials");
}

#[tokio::test]
async fn a_code_may_be_typed_as_people_type() {
    let (server, mails, _) = john().await;
    let mut known: Vec<String> = Vec::new();
    let ways: [fn(&str) -> String; 3] = [
        |code| format!(" {} ", code.to_lowercase().replace('-', " ")),
        |code| code.replace('-', "").replace('0', "O").replace('1', "l"),
        |code| code.chars().map(|c| format!("{c} ")).collect(),
    ];
    for (round, way) in ways.into_iter().enumerate() {
        server.forgot_password(EMAIL).await.is(202, "");
        let fresh = newest_code(&mails, &known).await;
        server
            .reset_password(EMAIL, &way(&fresh), &format!("{NEW} {round}"))
            .await
            .is(204, "");
        known.push(fresh);
    }
}

/// The code of a mail that is none of these.
async fn newest_code(mails: &MailServer, known: &[String]) -> String {
    let fresh = || {
        mails
            .mails_to(EMAIL)
            .iter()
            .filter_map(|mail| code(mail))
            .find(|code| !known.contains(code))
    };
    until("a fresh code", || async { fresh().is_some() }).await;
    fresh().expect("it came")
}

#[tokio::test]
async fn a_weak_password_does_not_cost_the_code() {
    let (server, mails, old) = john().await;
    let code = mails.reset_code(&server, EMAIL).await;
    for weak in ["short", "password123"] {
        server
            .reset_password(EMAIL, &code, weak)
            .await
            .is(400, "weak_password");
    }
    assert_eq!(
        server.verify(&old.access_token).await.0,
        204,
        "nothing happened"
    );
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
}

#[tokio::test]
async fn without_mail_there_is_no_recovery_by_mail() {
    let server = TestServer::shared().await;
    server.sign_up_with_email("john", EMAIL).await;
    for email in [EMAIL, "nobody@example.com"] {
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
async fn an_address_is_one_address() {
    let (server, mails, _) = john().await;
    let lists = [
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
    for email in lists {
        let response = server
            .post("/password/forgot", json!({"email": email}))
            .await;
        response.is(400, "invalid_request");
        assert_eq!(response.body["errors"][0]["field"], "email", "{email}");
        assert!(!response.string().contains("evil"), "never the value");
    }
    let database = connect(server.setting("DATABASE_URL")).await;
    assert!(
        database
            .query("select from email_outbox", &[])
            .await
            .expect("rows")
            .is_empty()
    );
    assert!(mails.mails_to("").is_empty());
}

/// The commit is held up by a lock until Redis is cut off: so it stands, and its publication fails.
#[tokio::test]
async fn a_reset_that_could_not_be_published_is_made_up_for_by_a_repeat() {
    let proxy = Proxy::to_redis().await;
    let (server, mails, old) = john_with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let code = mails.reset_code(&server, EMAIL).await;
    let cut = hold_the_users(&server, |waiting| waiting > 0, || proxy.set(Line::Cut));
    let (response, ()) = tokio::join!(server.reset_password(EMAIL, &code, NEW), cut);
    response.is(503, "unavailable");
    assert!(
        response.text("detail").contains("The change is saved"),
        "{}",
        response.body
    );
    proxy.set(Line::Open);
    server.reset_password(EMAIL, &code, NEW).await.is(204, "");
    server.rejects(&old).await;
    server.log_in("john", NEW).await.is(200, "");
    server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(400, "invalid_code");
}
