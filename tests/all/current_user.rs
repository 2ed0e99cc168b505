//! Tests of the operations on the current user: profile, deletion, password, and dashboard.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    leaks::stored_texts,
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{RowLock, execute, query_value},
    token_signer::{TokenSigner, with},
};

const NEW_PASSWORD: &str = "another secret 456";

async fn update_user(
    server: &TestServer,
    session: &Session,
    change: Value,
) -> crate::test_server::TestResponse {
    server
        .with_token(Method::PATCH, "/user", &session.access_token, change)
        .await
}

async fn get_user(server: &TestServer, session: &Session) -> Value {
    let response = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    response.is(200, "");
    response.body
}

#[tokio::test]
async fn renamed_user_appears_in_refreshed_tokens() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let second = replica.sign_in("john").await;
    let response = update_user(
        &server,
        &session,
        json!({"username": "johnny", "name": "Johnny Döe"}),
    )
    .await;
    response.is(200, "");
    assert_eq!(
        (&response.body["username"], &response.body["name"]),
        (&json!("johnny"), &json!("Johnny Döe"))
    );
    for (replica, session) in [(&replica, &session), (&server, &second)] {
        let claims = Session::of(&replica.refresh(&session.refresh_token).await).claims();
        assert_eq!(
            (&claims["username"], &claims["name"]),
            (&json!("johnny"), &json!("Johnny Döe"))
        );
    }
    server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    server.try_sign_in("johnny", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn null_removes_field_and_absent_field_is_kept() {
    let server = TestServer::shared().await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    update_user(&server, &session, json!({"name": "John"}))
        .await
        .is(200, "");
    update_user(&server, &session, json!({"username": null}))
        .await
        .is(200, "");
    let user = get_user(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"], &user["email"]),
        (&Value::Null, &json!("John"), &json!("john@example.com"))
    );
    update_user(&server, &session, json!({"name": null}))
        .await
        .is(200, "");
    update_user(&server, &session, json!({})).await.is(200, "");
    assert_eq!(get_user(&server, &session).await["name"], Value::Null);
    let claims = Session::of(&server.refresh(&session.refresh_token).await).claims();
    assert_eq!(
        (&claims["username"], &claims["name"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn username_without_email_cannot_be_removed() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let response = update_user(&server, &session, json!({"username": null, "name": "John"})).await;
    assert_eq!(
        response.is(400, "invalid_request").body["errors"][0]["field"],
        "username"
    );
    let user = get_user(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"]),
        (&json!("john"), &Value::Null),
        "no field was changed"
    );
}

#[tokio::test]
async fn taken_username_is_rejected_and_case_can_change() {
    let server = TestServer::shared().await;
    server.sign_up("jane").await;
    let session = server.sign_up("john").await;
    update_user(&server, &session, json!({"username": "Jane", "name": "J"}))
        .await
        .is(409, "username_taken");
    let user = get_user(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"]),
        (&json!("john"), &Value::Null)
    );
    update_user(&server, &session, json!({"username": "John"}))
        .await
        .is(200, "");
    assert_eq!(get_user(&server, &session).await["username"], "John");
}

#[tokio::test]
async fn deleted_user_loses_sessions_items_and_tokens() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let second = server.sign_in("john").await;
    let other_user = server.sign_up("jane").await;
    for session in [&first, &other_user] {
        server.create_item(session, "Book").await.is(201, "");
    }
    server
        .with_token(Method::DELETE, "/user", &first.access_token, Value::Null)
        .await
        .is(204, "");
    for replica in [&replica, &server] {
        for session in [&first, &second] {
            replica.rejects(session).await;
        }
        replica
            .try_sign_in("john", PASSWORD)
            .await
            .is(401, "invalid_credentials");
        assert_eq!(replica.verify(&other_user.access_token).await.0, 204);
    }
    for table in ["users", "items", "sessions"] {
        assert_eq!(
            query_value(&server, &format!("select count(*) from {table}")).await,
            "1",
            "the row of the other user in {table} is kept"
        );
    }
}

/// The deletion applies to the stores at once, also to the claims that Redis keeps for the next
/// tokens.
#[tokio::test]
async fn deletion_erases_names_and_address() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let admin = server.admin("root").await;
    let names = [
        "deleted-john",
        "deleted.john@example.com",
        "Deleted Johnson",
    ];
    for by_admin in [false, true] {
        let body = json!({
            "username": names[0],
            "email": names[1],
            "name": names[2],
            "password": PASSWORD,
        });
        let session = Session::of(server.post("/signup", body).await.is(201, ""));
        server.refresh(&session.refresh_token).await.is(200, "");
        mail_server.reset_code(&server, names[1]).await;
        assert_eq!(stored_texts(&server, &names).await, names);
        let (path, token) = match by_admin {
            true => (session.user_path(), &admin.access_token),
            false => ("/user".to_owned(), &session.access_token),
        };
        server
            .with_token(Method::DELETE, &path, token, Value::Null)
            .await
            .is(204, "");
        assert_eq!(stored_texts(&server, &names).await, [""; 0]);
        // A refresh doesn't store the claims again.
        server.rejects(&session).await;
        assert_eq!(stored_texts(&server, &names).await, [""; 0]);
        execute(&server, "delete from reserved_names").await;
    }
}

#[tokio::test]
async fn deletion_requires_sign_in_within_five_minutes() {
    let server = TestServer::start().await;
    let claims = server.sign_up("john").await.claims();
    let (signer, now) = (
        TokenSigner::of(&server).await,
        claims["iat"].as_u64().expect("a timestamp"),
    );
    let signed_in_before =
        |seconds: u64| signer.sign(&with(&claims, "auth_time", json!(now - seconds)));
    let stale = signed_in_before(301);
    assert_eq!(
        server.verify(&stale).await.0,
        204,
        "the token itself is valid"
    );
    let response = server
        .with_token(Method::DELETE, "/user", &stale, Value::Null)
        .await;
    response.is(403, "reauthentication_required");
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    server
        .with_token(Method::DELETE, "/user", &signed_in_before(240), Value::Null)
        .await
        .is(204, "");
    server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}

async fn change_password(
    server: &TestServer,
    session: &Session,
    current: &str,
    new: &str,
) -> crate::test_server::TestResponse {
    let body = json!({"current_password": current, "new_password": new});
    server
        .with_token(Method::POST, "/user/password", &session.access_token, body)
        .await
}

#[tokio::test]
async fn rejected_password_change_changes_nothing() {
    let server = TestServer::shared().await;
    let (session, other) = (server.sign_up("john").await, server.sign_in("john").await);
    change_password(&server, &session, "wrong-password", NEW_PASSWORD)
        .await
        .is(403, "incorrect_password");
    change_password(&server, &session, PASSWORD, "short")
        .await
        .is(400, "weak_password");
    change_password(&server, &session, PASSWORD, "password")
        .await
        .is(400, "weak_password");
    assert_eq!(server.verify(&other.access_token).await.0, 204);
    server
        .try_sign_in("john", NEW_PASSWORD)
        .await
        .is(401, "invalid_credentials");
    server.try_sign_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn password_change_revokes_other_sessions() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let other_sessions = [server.sign_in("john").await, replica.sign_in("john").await];
    let other_user = server.sign_up("jane").await;
    change_password(&server, &session, PASSWORD, NEW_PASSWORD)
        .await
        .is(204, "");
    for other_session in &other_sessions {
        replica.rejects(other_session).await;
    }
    assert_eq!(
        (
            replica.verify(&session.access_token).await.0,
            replica.verify(&other_user.access_token).await.0
        ),
        (204, 204)
    );
    replica.refresh(&session.refresh_token).await.is(200, "");
    replica
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    replica.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
}

/// Sends two requests that change the row of a user. The first one waits for the row first.
async fn race<First, Second>(
    server: &TestServer,
    first: impl Future<Output = First>,
    second: impl Future<Output = Second>,
) -> (First, Second) {
    let lock = RowLock::rows(server, "select from users where username = 'john'").await;
    let first_waits = Notify::new();
    let second = async {
        first_waits.notified().await;
        second.await
    };
    let release = async {
        lock.wait_until_blocked().await;
        first_waits.notify_one();
        let both_wait = || async { lock.waiting().await == 2 };
        wait_until("both requests wait for the row", both_wait).await;
        lock.release().await;
    };
    let (first, second, ()) = tokio::join!(first, second, release);
    (first, second)
}

#[tokio::test]
async fn password_change_of_revoked_session_is_rejected() {
    let server = TestServer::start().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    let (winner, loser) = race(
        &server,
        change_password(&server, &first, PASSWORD, NEW_PASSWORD),
        change_password(&server, &second, PASSWORD, "a third secret 789"),
    )
    .await;
    winner.is(204, "");
    loser.is(401, "token_revoked");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    // Denied events are logged immediately, but written to PostgreSQL later.
    let denied = ["password_check_failed"];
    assert!(!server.has_logged(&denied), "{:?}", server.log());
    change_password(&server, &first, "not the right one", PASSWORD)
        .await
        .is(403, "incorrect_password");
    server.wait_for_log(&denied).await;
}

#[tokio::test]
async fn second_password_change_of_session_is_rejected() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let (winner, loser) = race(
        &server,
        change_password(&server, &session, PASSWORD, NEW_PASSWORD),
        change_password(&server, &session, PASSWORD, "a third secret 789"),
    )
    .await;
    winner.is(204, "");
    loser.is(403, "incorrect_password");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn password_change_of_deleted_user_is_rejected() {
    let server = TestServer::start().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    let (deletion, change) = race(
        &server,
        server.with_token(Method::DELETE, "/user", &first.access_token, Value::Null),
        change_password(&server, &second, PASSWORD, NEW_PASSWORD),
    )
    .await;
    deletion.is(204, "");
    change.is(401, "token_revoked");
}

/// A sign-in can replace the stored hash by another one of the same password.
#[tokio::test]
async fn password_change_succeeds_after_hash_upgrade() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    server.sign_up("jane").await;
    let lock = RowLock::rows(&server, "select from users where username = 'john'").await;
    let upgrade = async {
        lock.wait_until_blocked().await;
        let other_hash = "update users set password_hash = other.password_hash from users other \
            where users.username = 'john' and other.username = 'jane'";
        lock.change(other_hash).await;
    };
    let change = change_password(&server, &session, PASSWORD, NEW_PASSWORD);
    let (changed, ()) = tokio::join!(change, upgrade);
    changed.is(204, "");
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
}

/// Covers the time between the commit of a revocation and its publication.
#[tokio::test]
async fn revoked_session_does_not_reveal_password() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let revoke = "update sessions set revoked_at = now(), revoked_reason = 'revoked'";
    execute(&server, revoke).await;
    for password in [PASSWORD, "wrong-password"] {
        change_password(&server, &session, password, NEW_PASSWORD)
            .await
            .is(401, "token_revoked");
        let body = json!({"email": "john@example.com", "password": password});
        server
            .with_token(Method::POST, "/user/email", &session.access_token, body)
            .await
            .is(401, "token_revoked");
    }
    server.try_sign_in("john", PASSWORD).await.is(200, "");
}

/// In either order, a session that was created with the old password is revoked.
#[tokio::test]
async fn sign_in_racing_password_change_leaves_no_session() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let mut current = PASSWORD.to_owned();
    for round in 0..20 {
        let new = format!("{NEW_PASSWORD} {round}");
        let (changed, first, second) = tokio::join!(
            change_password(&server, &session, &current, &new),
            server.try_sign_in("john", &current),
            replica.try_sign_in("john", &current)
        );
        changed.is(204, "");
        for response in [first, second] {
            if response.status == 200 {
                let session = Session::of(&response);
                assert_eq!(
                    server.verify(&session.access_token).await,
                    (401, "token_revoked".into())
                );
                replica
                    .refresh(&session.refresh_token)
                    .await
                    .is(401, "invalid_refresh_token");
            } else {
                response.is(401, "invalid_credentials");
            }
        }
        current = new;
    }
    let active_sessions = "select count(*) from sessions where revoked_at is null";
    assert_eq!(
        (
            server.verify(&session.access_token).await.0,
            query_value(&server, active_sessions).await
        ),
        (204, "1".into())
    );
}

/// Covers an order that a race rarely produces: the password change completes after the sign-in
/// wrote PostgreSQL and before it writes Redis.
#[tokio::test]
async fn sign_in_overtaken_by_password_change_is_rejected() {
    let server = TestServer::start().await;
    let (session, proxy) = (server.sign_up("john").await, Proxy::to_redis().await);
    let redis = proxy.redis_url();
    let delayed_replica = server
        .replica_with(&[("REDIS_URL", &redis), ("LATCHKEY_REDIS_TIMEOUT", "30s")])
        .await;
    proxy.set(ConnectionState::Held);
    let overtake = async {
        let is_inserted =
            || async { query_value(&server, "select count(*) from sessions").await == "2" };
        wait_until("PostgreSQL contains the new session", is_inserted).await;
        change_password(&server, &session, PASSWORD, NEW_PASSWORD)
            .await
            .is(204, "");
        proxy.set(ConnectionState::Open);
    };
    let (sign_in, ()) = tokio::join!(delayed_replica.try_sign_in("john", PASSWORD), overtake);
    sign_in.is(401, "invalid_credentials");
    assert_eq!(
        query_value(
            &server,
            "select count(*) from sessions where revoked_at is null"
        )
        .await,
        "1"
    );
}

#[tokio::test]
async fn dashboard_contains_user_sessions_and_items() {
    let server = TestServer::shared().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    let other_user = server.sign_up("jane").await;
    for session in [&first, &second, &other_user] {
        server.create_item(session, "Book").await.is(201, "");
    }
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    dashboard.is(200, "");
    assert_eq!(
        (
            &dashboard.body["user"]["username"],
            &dashboard.body["item_count"]
        ),
        (&json!("john"), &json!(2))
    );
    let sessions = dashboard.body["sessions"].as_array().expect("a list");
    let listed: Vec<_> = sessions
        .iter()
        .map(|session| (&session["id"], &session["current"]))
        .collect();
    let (first, second) = (
        first.claims()["sid"].clone(),
        second.claims()["sid"].clone(),
    );
    assert_eq!(listed, [(&first, &json!(false)), (&second, &json!(true))]);
    assert_eq!(sessions[0]["ip_address"], "127.0.0.1");
}

#[tokio::test]
async fn dashboard_omits_revoked_session() {
    let server = TestServer::shared().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    server.sign_out(&first.access_token).await.is(204, "");
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    let sessions = dashboard.is(200, "").body["sessions"]
        .as_array()
        .expect("a list");
    assert_eq!(
        (sessions.len(), &sessions[0]["id"]),
        (1, &second.claims()["sid"])
    );
}

/// A client that sends unchanged values must not cause row updates or audit events.
#[tokio::test]
async fn unchanged_profile_update_writes_nothing() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let before = query_value(
        &server,
        "select u::text || (select count(*) from audit_events) from users u",
    )
    .await;
    for body in [
        json!({}),
        json!({"username": "john"}),
        json!({"name": null}),
        json!({"username": "john", "name": null}),
    ] {
        server
            .with_token(Method::PATCH, "/user", &session.access_token, body)
            .await
            .is(200, "");
    }
    assert_eq!(
        query_value(
            &server,
            "select u::text || (select count(*) from audit_events) from users u"
        )
        .await,
        before
    );
}

#[tokio::test]
async fn repeated_profile_update_publishes_stored_values() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    // Simulates an update that was committed but not published.
    execute(
        &server,
        "update users set name = 'John', identity_version = identity_version + 1",
    )
    .await;
    update_user(&server, &session, json!({"name": "John"}))
        .await
        .is(200, "");
    let refreshed = server.refresh(&session.refresh_token).await;
    assert_eq!(Session::of(&refreshed).claims()["name"], "John");
}

#[tokio::test]
async fn username_changes_count_against_sign_up_limit() {
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_UP", "3/1h"),
    ])
    .await;
    server.sign_up("taken").await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    let change_username =
        |username: &'static str| update_user(&server, &session, json!({"username": username}));
    change_username("taken").await.is(409, "username_taken");
    change_username("taken").await.is(429, "too_many_requests");
    // Only a new username counts.
    for body in [
        json!({"name": "John"}),
        json!({"username": "john", "name": "John Doe"}),
        json!({"username": null}),
    ] {
        update_user(&server, &session, body).await.is(200, "");
    }
}
