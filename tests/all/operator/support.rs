//! Commands that help a user: audit events, rate limits, and released names.

use reqwest::Method;
use serde_json::{Value, json};

use super::{command, run_user_ok};
use crate::{
    mail::MailServer,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{execute, query_value},
};

#[tokio::test]
async fn events_lists_audit_events_of_user() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let session = server.sign_up("john").await;
    server.sign_out(&session.access_token).await.is(204, "");
    let (id, sid) = (session.claim("sub"), session.claim("sid"));
    let text = run_user_ok(&server, &["events", "john"]).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("TIME"), "{text}");
    for (line, event) in lines[1..].iter().zip(["sign_out", "sign_up"]) {
        for part in [event, "success", "127.0.0.1", &sid] {
            assert!(line.contains(part), "{text}");
        }
    }
    assert_eq!(lines.len(), 3, "{text}");

    // The JSON is that of the API, also for a deleted user, by the ID.
    let path = session.user_path();
    let token = &admin.access_token;
    server
        .with_token(Method::DELETE, &path, token, Value::Null)
        .await
        .is(204, "");
    let output = run_user_ok(&server, &["events", &id, "--output", "json"]).await;
    let events: Value = serde_json::from_str(&output).expect("JSON");
    let api = server
        .with_token(Method::GET, &format!("{path}/audit"), token, Value::Null)
        .await;
    assert_eq!(events, api.is(200, "").body);
    assert_eq!(events["data"][0]["event"], "user_deleted");

    let limited = command(&server, &["user", "events", &id, "--limit", "1"]).await;
    assert!(
        limited.err.contains("hint: more events exist"),
        "{}",
        limited.err
    );
    assert_eq!(limited.out.lines().count(), 2, "{}", limited.out);
    command(&server, &["user", "events", "john"])
        .await
        .expect_error(1, "user not found");
}

#[tokio::test]
async fn unlock_resets_rate_limits_of_user() {
    let mail_server = MailServer::start().await;
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1h"),
        ("LATCHKEY_LIMIT_CODE", "2/1h"),
        ("LATCHKEY_SMTP_URL", &mail_server.url()),
    ])
    .await;
    let email = "john@example.com";
    server.sign_up_with_email("john", email).await;
    server.sign_up("mary").await;
    let code = mail_server.reset_code(&server, email).await;
    assert!(
        run_user_ok(&server, &["unlock", "john"])
            .await
            .contains("has no counters")
    );
    for name in ["john", email, "mary"] {
        for _ in 0..2 {
            server
                .try_sign_in(name, "wrong password")
                .await
                .is(401, "invalid_credentials");
        }
        server
            .try_sign_in(name, PASSWORD)
            .await
            .is(429, "too_many_requests");
    }
    for _ in 0..2 {
        server
            .reset_password(email, "AAAAA-AAAAA", "correct horse 9")
            .await
            .is(400, "invalid_code");
    }
    server
        .reset_password(email, &code, "correct horse 9")
        .await
        .is(429, "too_many_requests");
    // An audit event contains the ID of the user, by which support finds the user.
    let id = {
        let events = || async { run_user_ok(&server, &["events", "john"]).await };
        wait_until("failed attempts are stored", || async {
            events().await.contains("code_check_failed")
        })
        .await;
        let output = run_user_ok(&server, &["show", "john", "--output", "json"]).await;
        let shown: Value = serde_json::from_str(&output).expect("JSON");
        shown["user"]["id"].as_str().expect("an ID").to_owned()
    };
    let output = run_user_ok(&server, &["unlock", &id]).await;
    assert!(output.contains("Deleted the counters"), "{output}");
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    server.try_sign_in(email, PASSWORD).await.is(200, "");
    server
        .reset_password(email, &code, "correct horse 9")
        .await
        .is(204, "");
    // Other users stay locked.
    server
        .try_sign_in("mary", PASSWORD)
        .await
        .is(429, "too_many_requests");
}

#[tokio::test]
async fn released_name_can_be_taken_by_another_user() {
    let server = TestServer::start().await;
    let (john, mary) = (server.sign_up("john").await, server.sign_up("mary").await);
    let rename = async |session: &Session, name: &str| {
        let body = json!({ "username": name });
        server
            .with_token(Method::PATCH, "/user", &session.access_token, body)
            .await
    };
    command(&server, &["user", "release", "john"])
        .await
        .expect_error(1, "john is not reserved");
    rename(&john, "jack").await.is(200, "");
    rename(&mary, "john").await.is(409, "username_taken");
    let output = run_user_ok(&server, &["release", "JOHN"]).await;
    assert_eq!(output, "Ended the reservation of JOHN.\n");
    rename(&mary, "john").await.is(200, "");
    // Now a user has the name.
    command(&server, &["user", "release", "john"])
        .await
        .expect_error(1, "john is not reserved");
    rename(&john, "john").await.is(409, "username_taken");
    let id = john.claim("sub");
    let events = "select string_agg(actor || ' ' || subject_id, ',') from audit_events \
        where event = 'name_released'";
    assert_eq!(query_value(&server, events).await, format!("operator {id}"));
}

#[tokio::test]
async fn released_email_address_can_be_taken_by_another_user() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let email = "john@example.com";
    let john = server.sign_up_with_email("john", email).await;
    let verify = "update users set email_verified = true where username = 'john'";
    execute(&server, verify).await;
    server
        .with_token(
            Method::DELETE,
            &john.user_path(),
            &admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let body = json!({"email": email, "password": PASSWORD});
    let create = || server.with_token(Method::POST, "/users", &admin.access_token, body.clone());
    create().await.is(409, "email_taken");
    run_user_ok(&server, &["release", "john@EXAMPLE.com"]).await;
    create().await.is(201, "");
}
