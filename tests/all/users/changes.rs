//! Changes by an administrator: credentials that they revoke, on every replica immediately.

use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    mail::MailServer,
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, wait_until},
    test_stores::{RowLock, query_value},
};

const NEW_PASSWORD: &str = "correct horse 9";

/// Tests each change × every session × both replicas, and the stored reason.
#[tokio::test]
async fn revoking_changes_apply_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let bystander = fixture.server.sign_up("bystander").await;
    let changes = [
        (Method::PATCH, "", json!({"disabled": true}), "disabled"),
        (Method::PATCH, "", json!({"role": "admin"}), "role_change"),
        (
            Method::PATCH,
            "",
            json!({"password": NEW_PASSWORD}),
            "password_reset",
        ),
        (Method::POST, "/revoke", Value::Null, "revoked"),
        (Method::DELETE, "", Value::Null, ""),
    ];
    for (number, (method, suffix, body, reason)) in changes.into_iter().enumerate() {
        let name = format!("john{number}");
        let (path, first) = fixture.sign_up(&name).await;
        let second = replica.sign_in(&name).await;
        let response = fixture.call(method, &format!("{path}{suffix}"), body).await;
        assert!(
            (200..300).contains(&response.status),
            "{}",
            response.string()
        );
        for session in [&first, &second] {
            replica.rejects(session).await;
            fixture.server.rejects(session).await;
        }
        let reasons = format!(
            "select coalesce(string_agg(distinct revoked_reason, ','), '') from sessions \
             join users on users.id = user_id where username = '{name}'"
        );
        assert_eq!(
            query_value(&fixture.server, &reasons).await,
            reason,
            "{name}"
        );
    }
    assert_eq!(replica.verify(&bystander.access_token).await.0, 204);
    assert_eq!(replica.verify(&fixture.admin.access_token).await.0, 204);
}

#[tokio::test]
async fn disabled_user_cannot_sign_in_until_enabled() {
    let fixture = Fixture::new().await;
    let (path, _) = fixture.sign_up("john").await;
    assert_eq!(
        fixture
            .patch(&path, json!({"disabled": true}))
            .await
            .is(200, "")
            .body["disabled"],
        true
    );
    fixture
        .server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    assert_eq!(
        fixture
            .patch(&path, json!({"disabled": false}))
            .await
            .is(200, "")
            .body["disabled"],
        false
    );
    fixture
        .server
        .try_sign_in("john", PASSWORD)
        .await
        .is(200, "");
}

#[tokio::test]
async fn role_change_takes_effect_on_a_second_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, session) = fixture.sign_up("john").await;
    let list = async |session: &Session| {
        let response = replica
            .with_token(Method::GET, "/users", &session.access_token, Value::Null)
            .await;
        (response.status, response.code())
    };
    assert_eq!(list(&session).await, (403, "forbidden".into()));
    fixture
        .patch(&path, json!({"role": "admin"}))
        .await
        .is(200, "");
    assert_eq!(list(&session).await, (401, "token_revoked".into()));
    let admin = replica.sign_in("john").await;
    assert!(
        admin.claims()["scope"]
            .as_str()
            .is_some_and(|scope| scope.contains("admin"))
    );
    assert_eq!(list(&admin).await.0, 200);
    fixture
        .patch(&path, json!({"role": "user"}))
        .await
        .is(200, "");
    assert_eq!(list(&admin).await, (401, "token_revoked".into()));
    replica
        .refresh(&admin.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        list(&replica.sign_in("john").await).await,
        (403, "forbidden".into())
    );
}

#[tokio::test]
async fn new_names_are_in_next_tokens_and_revoke_nothing() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, session) = fixture.sign_up("john").await;
    fixture
        .patch(
            &path,
            json!({"username": "Johnny", "name": "J", "email": "j@example.com"}),
        )
        .await
        .is(200, "");
    assert_eq!(replica.verify(&session.access_token).await.0, 204);
    let claims = Session::of(replica.refresh(&session.refresh_token).await.is(200, "")).claims();
    assert_eq!(
        (&claims["username"], &claims["name"], &claims["email"]),
        (&json!("Johnny"), &json!("J"), &json!("j@example.com"))
    );
    // A replacement with the same values changes and revokes nothing.
    let replacement = json!({
        "username": "Johnny",
        "email": "j@example.com",
        "name": "J",
        "role": "user",
        "disabled": false,
    });
    let users = "select string_agg(u::text, ';' order by id) from users u";
    let before = query_value(&fixture.server, users).await;
    fixture
        .call(Method::PUT, &path, replacement)
        .await
        .is(200, "");
    assert_eq!(query_value(&fixture.server, users).await, before);
    assert_eq!(replica.verify(&session.access_token).await.0, 204);
}

#[tokio::test]
async fn taken_names_and_missing_names_are_rejected() {
    let fixture = Fixture::new().await;
    fixture.sign_up("mary").await;
    let (path, _) = fixture.sign_up("john").await;
    let before = fixture.get(&path).await.body;
    fixture
        .patch(&path, json!({"username": "MARY"}))
        .await
        .is(409, "username_taken");
    fixture
        .patch(
            &path,
            json!({"email": "Mary@example.com", "disabled": true}),
        )
        .await
        .is(409, "email_taken");
    fixture
        .patch(&path, json!({"username": null, "email": null}))
        .await
        .is(400, "invalid_request");
    fixture
        .patch(&path, json!({"password": "short"}))
        .await
        .is(400, "weak_password");
    assert_eq!(fixture.get(&path).await.body, before);
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*) from revocations where kind = 'user'"
        )
        .await,
        "0"
    );
}

#[tokio::test]
async fn new_email_is_unverified_and_voids_old_codes() {
    let mail_server = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    let (path, _) = fixture.sign_up("john").await;
    let server = &fixture.server;
    let code = mail_server.reset_code(server, "john@example.com").await;
    server
        .reset_password("john@example.com", &code, NEW_PASSWORD)
        .await
        .is(204, "");
    let changed_case = fixture
        .patch(&path, json!({"email": "John@Example.com"}))
        .await;
    assert_eq!(changed_case.is(200, "").body["email_verified"], true);

    let emails_before = mail_server.emails_to("John@Example.com").len();
    server.forgot_password("john@example.com").await.is(202, "");
    mail_server
        .wait_for("John@Example.com", emails_before + 1)
        .await;
    let code = mail_server.code_for("John@Example.com").await;
    let changed = fixture
        .patch(&path, json!({"email": "j@example.org"}))
        .await;
    assert_eq!(
        (
            changed.is(200, "").text("email"),
            &changed.body["email_verified"]
        ),
        ("j@example.org".into(), &json!(false))
    );
    server
        .reset_password("j@example.org", &code, "of an attacker 7")
        .await
        .is(400, "invalid_code");
    assert_eq!(fixture.get(&path).await.body["email_verified"], false);
}

#[tokio::test]
async fn password_set_by_admin_notifies_user_and_voids_codes() {
    let mail_server = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    let (path, _) = fixture.sign_up("john").await;
    // Only a verified address is notified.
    let verify = "update users set email_verified = true where username = 'john'";
    crate::test_stores::execute(&fixture.server, verify).await;
    let code = mail_server
        .reset_code(&fixture.server, "john@example.com")
        .await;
    let replacement = json!({
        "username": "john",
        "email": "john@example.com",
        "name": null,
        "role": "user",
        "disabled": false,
        "password": NEW_PASSWORD,
    });
    fixture
        .call(Method::PUT, &path, replacement)
        .await
        .is(200, "");
    let emails = mail_server.wait_for("john@example.com", 2).await;
    assert!(
        emails
            .iter()
            .any(|email| email.contains("Subject: Your password was changed"))
    );
    fixture
        .server
        .reset_password("john@example.com", &code, "of an attacker 7")
        .await
        .is(400, "invalid_code");
    fixture
        .server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    fixture
        .server
        .try_sign_in("john", NEW_PASSWORD)
        .await
        .is(200, "");
}

/// Redis is disconnected between the commit and the publication. A repeated request completes the
/// change.
#[tokio::test]
async fn unpublished_change_is_completed_by_repeat() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to_redis().await;
    let disconnected = fixture
        .server
        .replica_with(&[("REDIS_URL", &proxy.redis_url())])
        .await;
    for (number, (method, suffix, body)) in [
        (Method::PATCH, "", json!({"disabled": true})),
        (Method::PATCH, "", json!({"role": "admin"})),
        (Method::POST, "/revoke", Value::Null),
        (Method::DELETE, "", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let (path, session) = fixture.sign_up(&format!("john{number}")).await;
        let path = format!("{path}{suffix}");
        let lock = RowLock::rows(
            &fixture.server,
            &format!("select from users where username = 'john{number}'"),
        )
        .await;
        let send = || {
            disconnected.with_token(
                method.clone(),
                &path,
                &fixture.admin.access_token,
                body.clone(),
            )
        };
        let mut first = std::pin::pin!(send());
        tokio::select! {
            response = &mut first => panic!("the change waits for the row: {}", response.string()),
            () = lock.wait_until_blocked() => {}
        }
        proxy.set(ConnectionState::Cut);
        lock.release().await;
        let response = first.await;
        response.is(503, "unavailable");
        assert!(
            response.text("detail").contains("The change is saved"),
            "{}",
            response.body
        );
        proxy.set(ConnectionState::Open);
        wait_until("the repeated request succeeds", || async {
            send().await.status != 503
        })
        .await;
        let repeated = send().await;
        assert!(
            (200..300).contains(&repeated.status),
            "{method} {path}: {}",
            repeated.string()
        );
        fixture.server.rejects(&session).await;
    }
}

#[tokio::test]
async fn repeated_deletion_succeeds_until_purged() {
    let fixture = Fixture::new().await;
    let (path, session) = fixture.sign_up("john").await;
    for _ in 0..2 {
        fixture
            .call(Method::DELETE, &path, Value::Null)
            .await
            .is(204, "");
    }
    fixture.server.rejects(&session).await;
    crate::test_stores::execute(&fixture.server, "delete from revocations").await;
    fixture
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(404, "not_found");
    assert_eq!(fixture.get(&fixture.admin.user_path()).await.status, 200);
}

/// Only the session is revoked, on every replica, and only through the path of its user.
#[tokio::test]
async fn administrator_revokes_one_session() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, first) = fixture.sign_up("john").await;
    let second = replica.sign_in("john").await;
    let (other_path, other) = fixture.sign_up("mary").await;
    let session_path =
        |path: &str, session: &Session| format!("{path}/sessions/{}", session.claim("sid"));
    for unknown in [
        session_path(&path, &other),
        session_path(&other_path, &first),
        format!("{path}/sessions/{}", first.claim("sub")),
        format!("{path}/sessions/1"),
    ] {
        fixture
            .call(Method::DELETE, &unknown, Value::Null)
            .await
            .is(404, "not_found");
    }
    for _ in 0..2 {
        fixture
            .call(Method::DELETE, &session_path(&path, &first), Value::Null)
            .await
            .is(204, "");
    }
    for server in [&fixture.server, &replica] {
        server.rejects(&first).await;
        assert_eq!(server.verify(&second.access_token).await.0, 204);
        assert_eq!(server.verify(&other.access_token).await.0, 204);
    }
    let events = fixture.get(&format!("{path}/audit")).await.body["data"].clone();
    let revoked = events.as_array().expect("a list").iter();
    let revoked: Vec<_> = revoked
        .filter(|event| event["event"] == "session_revoked")
        .collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(
        (&revoked[0]["actor"], &revoked[0]["session_id"]),
        (&json!("admin"), &first.claims()["sid"])
    );
}
