//! Registrations for the addresses of others, guesses, floods, and races.

use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use latchkey_domain::one_time_code::sign_up_subject_id;
use reqwest::Method;
use serde_json::json;

use super::{EMAIL, Fixture, comparable, confirm};
use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, race_rounds, wait_until},
    test_stores::{RowLock, connect_redis, redis_prefix},
};

const ATTACKER_PASSWORD: &str = "chosen by an attacker 7";

/// A well-formed code that is valid with a probability of 2^-50.
const WRONG_CODE: &str = "00000-00000";

async fn request_as_attacker(fixture: &Fixture) -> TestResponse {
    let body = json!({
        "email": EMAIL,
        "username": "attacker",
        "name": "An attacker",
        "password": ATTACKER_PASSWORD,
    });
    fixture.server.post("/signup", body).await
}

/// The owner of the mailbox can't confirm the password of an attacker, also with a code that the
/// attacker requested.
#[tokio::test]
async fn attacker_determines_no_part_of_the_account() {
    for attacker_is_first in [true, false] {
        let fixture = Fixture::new().await;
        let codes = if attacker_is_first {
            request_as_attacker(&fixture).await.is(202, "");
            let code = fixture.new_code(EMAIL, &[]).await;
            vec![code.clone(), fixture.code_for(EMAIL, &[code]).await]
        } else {
            let code = fixture.code_for(EMAIL, &[]).await;
            request_as_attacker(&fixture).await.is(202, "");
            vec![code.clone(), fixture.new_code(EMAIL, &[code]).await]
        };
        // The attacker has no code.
        let guess = fixture.confirm_as(EMAIL, WRONG_CODE, None, ATTACKER_PASSWORD);
        guess.await.is(400, "invalid_code");
        // Only the last code works, and the request that contains it determines everything else.
        fixture
            .confirm(EMAIL, &codes[0])
            .await
            .is(400, "invalid_code");
        let confirmed = fixture.confirm_as(EMAIL, &codes[1], Some("john"), PASSWORD);
        let confirmed = confirmed.await;
        let user = &confirmed.is(201, "").body["user"];
        assert_eq!(
            (&user["username"], &user["name"]),
            (&json!("john"), &json!(null))
        );
        for name in [EMAIL, "john", "attacker"] {
            let sign_in = fixture.server.try_sign_in(name, ATTACKER_PASSWORD).await;
            sign_in.is(401, "invalid_credentials");
        }
        fixture
            .server
            .try_sign_in(EMAIL, PASSWORD)
            .await
            .is(200, "");
        assert_eq!(fixture.count("users").await, "1");
    }
}

#[tokio::test]
async fn code_is_valid_for_its_address_and_purpose_only() {
    let fixture = Fixture::new().await;
    fixture.register("mary@example.com", "mary").await;
    let code = fixture.code_for(EMAIL, &[]).await;
    let other = fixture.confirm("jane@example.com", &code).await;
    other.is(400, "invalid_code");
    let reset = fixture
        .server
        .reset_password("mary@example.com", &code, ATTACKER_PASSWORD);
    reset.await.is(400, "invalid_code");
    fixture
        .server
        .forgot_password("mary@example.com")
        .await
        .is(202, "");
    fixture.mail_server.wait_for("mary@example.com", 2).await;
    let emails = fixture.mail_server.emails_to("mary@example.com");
    let reset_code = emails
        .iter()
        .filter(|email| email.contains("Subject: Your password reset code"))
        .find_map(|email| crate::mail::code(email))
        .expect("a reset code");
    for email in ["mary@example.com", EMAIL] {
        fixture
            .confirm(email, &reset_code)
            .await
            .is(400, "invalid_code");
    }
    fixture.confirm(EMAIL, &code).await.is(201, "");
}

async fn confirm_from(server: &TestServer, address: &str, email: &str, code: &str) -> TestResponse {
    let body = json!({"email": email, "code": code, "password": PASSWORD});
    let request = server
        .request(Method::POST, "/signup/confirm")
        .header("x-forwarded-for", address);
    server.send(request.json(&body)).await
}

#[tokio::test]
async fn guesses_are_limited_and_disclose_nothing() {
    let fixture = Fixture::new().await;
    fixture.register("known@example.com", "known").await;
    let code = fixture.code_for(EMAIL, &[]).await;
    for expected in [400, 400, 400, 400, 400, 429] {
        let mut responses = Vec::new();
        for email in [EMAIL, "known@example.com", "unknown@example.com"] {
            let response = confirm_from(&fixture.server, "203.0.113.5", email, WRONG_CODE).await;
            assert_eq!(response.status, expected, "{email}: {}", response.string());
            let (status, _, headers) = comparable(&response);
            let mut body = response.without_request_id();
            // The seconds until the next attempt can differ.
            body.as_object_mut()
                .expect("an object")
                .shift_remove("detail");
            responses.push((status, headers, body));
        }
        assert_eq!(responses[0], responses[1]);
        assert_eq!(responses[0], responses[2]);
    }
    let exhausted = confirm_from(&fixture.server, "203.0.113.5", EMAIL, &code).await;
    exhausted.is(429, "too_many_requests");
    let owner = confirm_from(&fixture.server, "198.51.100.7", EMAIL, &code).await;
    owner.is(201, "");
}

/// Requests beyond the quota of the recipient send no email, and the last code stays valid for a
/// registration with any password.
#[tokio::test]
async fn flood_stays_within_quota_and_blocks_no_registration() {
    let fixture = Fixture::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_EMAIL", "2/1d"),
        ("LATCHKEY_LIMIT_SIGN_UP", "100/1h"),
    ])
    .await;
    for _ in 0..20 {
        request_as_attacker(&fixture).await.is(202, "");
    }
    let stored = "email_outbox where recipient = 'john@example.com'";
    assert_eq!(fixture.count(stored).await, "2");
    let first = fixture.request("mary@example.com").await;
    first.is(202, "");
    fixture.new_code("mary@example.com", &[]).await;
    wait_until("all emails are sent", || async {
        fixture.count("email_outbox where sent_at is null").await == "0"
    })
    .await;
    let owner = fixture.request(EMAIL).await;
    assert_eq!(owner.is(202, "").bytes, first.bytes);
    assert_eq!(fixture.count(stored).await, "2");
    let emails = fixture.mail_server.emails_to(EMAIL);
    let mut statuses = Vec::new();
    for code in emails.iter().filter_map(|email| crate::mail::code(email)) {
        statuses.push(fixture.confirm(EMAIL, &code).await.status);
    }
    assert!(statuses.contains(&201), "{statuses:?}");
    fixture
        .server
        .try_sign_in(EMAIL, PASSWORD)
        .await
        .is(200, "");
}

/// Otherwise, an attacker who knows the password could change it without a notice to the owner.
#[tokio::test]
async fn flood_for_address_of_user_suppresses_no_other_notice() {
    let fixture = Fixture::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_EMAIL", "2/1d"),
    ])
    .await;
    let owner = fixture.register(EMAIL, "john").await;
    for _ in 0..10 {
        fixture.request(EMAIL).await.is(202, "");
    }
    // The request of the owner has counted, too.
    fixture.mail_server.wait_for(EMAIL, 2).await;
    let stored = "email_outbox where template = 'account_exists'";
    assert_eq!(fixture.count(stored).await, "1");
    for (old, new) in [(PASSWORD, ATTACKER_PASSWORD), (ATTACKER_PASSWORD, PASSWORD)] {
        let body = json!({"current_password": old, "new_password": new});
        let token = &owner.access_token;
        let path = "/user/password";
        let changed = fixture.server.with_token(Method::POST, path, token, body);
        changed.await.is(204, "");
    }
    let emails = fixture.mail_server.wait_for(EMAIL, 4).await;
    let is_notice = |email: &&String| email.contains("Subject: Your password was changed");
    assert_eq!(emails.iter().filter(is_notice).count(), 2);
}

#[tokio::test]
async fn concurrent_confirmations_with_one_code_succeed_once() {
    // Late requests count as failed attempts.
    let fixture = Fixture::with(&[("LATCHKEY_LIMIT_CODE", "1000/1h")]).await;
    let replica = fixture.server.replica().await;
    let replicas = [&fixture.server, &replica];
    for round in 0..race_rounds(5) {
        let email = format!("user{round}@example.com");
        let code = fixture.code_for(&email, &[]).await;
        let (email, code) = (&email, &code);
        let usernames: Vec<String> = (0..16).map(|n| format!("user-{round}-{n}")).collect();
        let responses = join_all(
            usernames
                .iter()
                .enumerate()
                .map(async |(number, username)| {
                    confirm(replicas[number % 2], email, code, Some(username), PASSWORD).await
                }),
        )
        .await;
        let successes: Vec<_> = responses
            .iter()
            .filter(|found| found.status == 201)
            .collect();
        assert_eq!(successes.len(), 1, "{responses:?}");
        let expected_codes = ["", "busy", "invalid_code"];
        for response in &responses {
            assert!(
                expected_codes.contains(&response.code().as_str()),
                "{response:?}"
            );
        }
        let users = format!("users where username like 'user-{round}-%'");
        assert_eq!(fixture.count(&users).await, "1");
        let access_token = Session::of(successes[0]).access_token;
        for replica in replicas {
            assert_eq!(replica.verify(&access_token).await.0, 204);
        }
    }
}

/// Simulates a failover in which Redis loses its latest writes, so that two requests reserve the
/// code. PostgreSQL ensures that it works once.
#[tokio::test]
async fn code_restored_in_redis_registers_one_user() {
    let fixture = Fixture::with(&[("LATCHKEY_LIMIT_CODE", "1000/1h")]).await;
    let code = fixture.code_for(EMAIL, &[]).await;
    let prefix = redis_prefix(&fixture.server).await;
    let key = format!("{prefix}:{{{}}}:code:sign_up", sign_up_subject_id(EMAIL));
    let mut redis = connect_redis(fixture.server.setting("REDIS_URL")).await;
    wait_until("the email is sent", || async {
        fixture.count("email_outbox where sent_at is null").await == "0"
    })
    .await;
    let lock = RowLock::rows(&fixture.server, "select from email_outbox").await;
    let later = async {
        wait_until("the first transaction waits", || async {
            lock.waiting().await == 1
        })
        .await;
        let removed: i64 = cmd("HDEL")
            .arg(&key)
            .arg("reserved_until")
            .query_async(&mut redis)
            .await
            .expect("a number");
        assert_eq!(removed, 1, "the code was reserved");
        let release = async {
            wait_until("both transactions wait", || async {
                lock.waiting().await == 2
            })
            .await;
            lock.release().await;
        };
        let second = fixture.confirm_as(EMAIL, &code, Some("two"), PASSWORD);
        tokio::join!(second, release).0
    };
    let first = fixture.confirm_as(EMAIL, &code, Some("one"), PASSWORD);
    let (first, second) = tokio::join!(first, later);
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400], "{first:?} {second:?}");
    assert_eq!(fixture.count("users").await, "1");
}
