//! Taken usernames and addresses, addresses that other users haven't verified, and deletion.

use reqwest::Method;
use serde_json::{Value, json};

use super::{EMAIL, Fixture};
use crate::{
    test_server::{PASSWORD, Session},
    test_stores::{execute, query_value},
};

#[tokio::test]
async fn taken_or_reserved_username_is_reported_at_once() {
    let fixture = Fixture::new().await;
    fixture.register("mary@example.com", "mary").await;
    fixture.register("jane@example.com", "jane").await;
    execute(&fixture.server, "delete from users where username = 'jane'").await;
    for (username, email) in [
        ("Mary", "unknown@example.com"),
        ("mary", "mary@example.com"),
        ("jane", "unknown@example.com"),
    ] {
        let body = json!({"email": email, "username": username, "password": PASSWORD});
        let response = fixture.server.post("/signup", body).await;
        response.is(409, "username_taken");
    }
    assert!(fixture.mail_server.emails_to("unknown@").is_empty());
    // The reservation has passed.
    let pass = "update reserved_names set reserved_until = now() - interval '1 s'
        where reserved_until is not null";
    execute(&fixture.server, pass).await;
    let body = json!({"email": EMAIL, "username": "jane", "password": PASSWORD});
    fixture.server.post("/signup", body).await.is(202, "");
}

#[tokio::test]
async fn code_can_be_sent_again_with_another_username() {
    let fixture = Fixture::new().await;
    let code = fixture.code_for(EMAIL, &[]).await;
    fixture.register("mary@example.com", "mary").await;
    for _ in 0..8 {
        let taken = fixture.confirm_as(EMAIL, &code, Some("Mary"), PASSWORD);
        taken.await.is(409, "username_taken");
    }
    let weak = fixture.confirm_as(EMAIL, &code, None, "password1");
    weak.await.is(400, "weak_password");
    let confirmed = fixture.confirm_as(EMAIL, &code, Some("john"), PASSWORD);
    let session = Session::of(confirmed.await.is(201, ""));
    assert_eq!(session.claims()["username"], "john");
}

/// Only the code discloses it, which the owner of the mailbox has.
#[tokio::test]
async fn address_that_was_verified_meanwhile_is_taken() {
    let fixture = Fixture::new().await;
    let code = fixture.code_for(EMAIL, &[]).await;
    let insert = format!(
        "insert into users (id, email, email_verified, password_hash)
        values (gen_random_uuid(), '{EMAIL}', true, '')"
    );
    execute(&fixture.server, &insert).await;
    let wrong = fixture.confirm(EMAIL, "00000-00000").await;
    wrong.is(400, "invalid_code");
    fixture.confirm(EMAIL, &code).await.is(409, "email_taken");
    execute(&fixture.server, "delete from users").await;
    // The address of a deleted user stays reserved.
    fixture.confirm(EMAIL, &code).await.is(409, "email_taken");
    assert_eq!(fixture.count("users").await, "0");
}

#[tokio::test]
async fn unverified_address_goes_to_user_who_verifies_it() {
    let fixture = Fixture::new().await;
    let holder = fixture.register("jane@example.com", "jane").await;
    let claim = format!(
        "update users set email = '{EMAIL}', email_verified = false where username = 'jane'"
    );
    execute(&fixture.server, &claim).await;
    let replica = fixture.server.replica().await;
    fixture.register(EMAIL, "john").await;
    let user = replica
        .with_token(Method::GET, "/user", &holder.access_token, Value::Null)
        .await;
    assert_eq!(user.is(200, "").body["email"], Value::Null);
    let refreshed = replica.refresh(&holder.refresh_token).await;
    let claims = Session::of(refreshed.is(200, "")).claims();
    assert_eq!(
        (&claims["email"], &claims["username"]),
        (&Value::Null, &json!("jane"))
    );
    let reason = "select reason from audit_events where event = 'email_changed'";
    let reason = query_value(&fixture.server, reason).await;
    assert_eq!(reason, "verified_by_other_user");
}

#[tokio::test]
async fn deletion_of_user_deletes_sign_up_emails() {
    let fixture = Fixture::new().await;
    let first = fixture.code_for(EMAIL, &[]).await;
    let second = fixture.code_for(EMAIL, std::slice::from_ref(&first)).await;
    // The newer code has replaced the first one.
    fixture.confirm(EMAIL, &first).await.is(400, "invalid_code");
    let session = Session::of(fixture.confirm(EMAIL, &second).await.is(201, ""));
    let stored = format!("email_outbox where recipient = '{EMAIL}'");
    assert_eq!(fixture.count(&stored).await, "2");
    let deleted =
        fixture
            .server
            .with_token(Method::DELETE, "/user", &session.access_token, Value::Null);
    deleted.await.is(204, "");
    assert_eq!(fixture.count(&stored).await, "0");
}
