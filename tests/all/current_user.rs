//! One's own account: names, deletion, password, dashboard.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, TestServer, until},
    test_stores::ask,
    token_signer::{TokenSigner, with},
};

const NEW_PASSWORD: &str = "another secret 456";

async fn rename(
    server: &TestServer,
    session: &Session,
    change: Value,
) -> crate::test_server::TestResponse {
    server
        .with_token(Method::PATCH, "/user", &session.access_token, change)
        .await
}

async fn show(server: &TestServer, session: &Session) -> Value {
    let response = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    response.is(200, "");
    response.body
}

#[tokio::test]
async fn a_new_name_is_in_the_next_tokens_of_every_session() {
    let server = TestServer::start().await;
    let (other, session) = (server.replica().await, server.sign_up("john").await);
    let second = other.sign_in("john").await;
    let response = rename(
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
    for (replica, session) in [(&other, &session), (&server, &second)] {
        let claims = Session::of(&replica.refresh(&session.refresh_token).await).claims();
        assert_eq!(
            (&claims["username"], &claims["name"]),
            (&json!("johnny"), &json!("Johnny Döe"))
        );
    }
    server
        .log_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    server.log_in("johnny", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn null_clears_a_name_and_absence_keeps_it() {
    let server = TestServer::shared().await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    rename(&server, &session, json!({"name": "John"}))
        .await
        .is(200, "");
    rename(&server, &session, json!({"username": null}))
        .await
        .is(200, "");
    let user = show(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"], &user["email"]),
        (&Value::Null, &json!("John"), &json!("john@example.com"))
    );
    rename(&server, &session, json!({"name": null}))
        .await
        .is(200, "");
    rename(&server, &session, json!({})).await.is(200, "");
    assert_eq!(show(&server, &session).await["name"], Value::Null);
    let claims = Session::of(&server.refresh(&session.refresh_token).await).claims();
    assert_eq!(
        (&claims["username"], &claims["name"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn the_only_name_of_an_account_stays() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let response = rename(&server, &session, json!({"username": null, "name": "John"})).await;
    assert_eq!(
        response.is(400, "invalid_request").body["errors"][0]["field"],
        "username"
    );
    let user = show(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"]),
        (&json!("john"), &Value::Null),
        "nothing of it was done"
    );
}

#[tokio::test]
async fn a_taken_name_is_refused_and_ones_own_may_be_respelled() {
    let server = TestServer::shared().await;
    server.sign_up("jane").await;
    let session = server.sign_up("john").await;
    rename(&server, &session, json!({"username": "Jane", "name": "J"}))
        .await
        .is(409, "username_taken");
    let user = show(&server, &session).await;
    assert_eq!(
        (&user["username"], &user["name"]),
        (&json!("john"), &Value::Null)
    );
    rename(&server, &session, json!({"username": "John"}))
        .await
        .is(200, "");
    assert_eq!(show(&server, &session).await["username"], "John");
}

#[tokio::test]
async fn a_deleted_account_takes_everything_along() {
    let server = TestServer::start().await;
    let (other, first) = (server.replica().await, server.sign_up("john").await);
    let second = server.sign_in("john").await;
    let jane = server.sign_up("jane").await;
    for session in [&first, &jane] {
        server.create_item(session, "Book").await.is(201, "");
    }
    server
        .with_token(Method::DELETE, "/user", &first.access_token, Value::Null)
        .await
        .is(204, "");
    for replica in [&other, &server] {
        for session in [&first, &second] {
            replica.rejects(session).await;
        }
        replica
            .log_in("john", PASSWORD)
            .await
            .is(401, "invalid_credentials");
        assert_eq!(replica.verify(&jane.access_token).await.0, 204);
    }
    for table in ["users", "items", "sessions"] {
        assert_eq!(
            ask(&server, &format!("select count(*) from {table}")).await,
            "1",
            "Jane's of {table} stays"
        );
    }
    server.sign_up("john").await;
}

#[tokio::test]
async fn deleting_wants_a_sign_in_of_the_last_five_minutes() {
    let server = TestServer::start().await;
    let claims = server.sign_up("john").await.claims();
    let (forge, now) = (
        TokenSigner::of(&server).await,
        claims["iat"].as_u64().expect("seconds"),
    );
    let signed_in_before =
        |seconds: u64| forge.sign(&with(&claims, "auth_time", json!(now - seconds)));
    let stale = signed_in_before(301);
    assert_eq!(
        server.verify(&stale).await.0,
        204,
        "the token is good for everything else"
    );
    let refused = server
        .with_token(Method::DELETE, "/user", &stale, Value::Null)
        .await;
    refused.is(403, "reauthentication_required");
    server.log_in("john", PASSWORD).await.is(200, "");
    server
        .with_token(Method::DELETE, "/user", &signed_in_before(240), Value::Null)
        .await
        .is(204, "");
    server
        .log_in("john", PASSWORD)
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
async fn a_refused_change_of_password_changes_nothing() {
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
        .log_in("john", NEW_PASSWORD)
        .await
        .is(401, "invalid_credentials");
    server.log_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let server = TestServer::start().await;
    let (replica, mine) = (server.replica().await, server.sign_up("john").await);
    let others = [server.sign_in("john").await, replica.sign_in("john").await];
    let jane = server.sign_up("jane").await;
    change_password(&server, &mine, PASSWORD, NEW_PASSWORD)
        .await
        .is(204, "");
    for other in &others {
        replica.rejects(other).await;
    }
    assert_eq!(
        (
            replica.verify(&mine.access_token).await.0,
            replica.verify(&jane.access_token).await.0
        ),
        (204, 204)
    );
    replica.refresh(&mine.refresh_token).await.is(200, "");
    replica
        .log_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    replica.log_in("john", NEW_PASSWORD).await.is(200, "");
}

/// Whichever comes first: a session that knows the old password only does not survive.
#[tokio::test]
async fn a_sign_in_that_races_a_change_of_password_leaves_no_session() {
    let server = TestServer::start().await;
    let (replica, mine) = (server.replica().await, server.sign_up("john").await);
    let mut current = PASSWORD.to_owned();
    for round in 0..20 {
        let new = format!("{NEW_PASSWORD} {round}");
        let (changed, first, second) = tokio::join!(
            change_password(&server, &mine, &current, &new),
            server.log_in("john", &current),
            replica.log_in("john", &current)
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
    let live = "select count(*) from sessions where revoked_at is null";
    assert_eq!(
        (
            server.verify(&mine.access_token).await.0,
            ask(&server, live).await
        ),
        (204, "1".into())
    );
}

/// The same, in the one order that a race rarely meets: the change is through before Redis hears of
/// the sign-in.
#[tokio::test]
async fn a_sign_in_that_a_change_of_password_overtakes_is_refused() {
    let server = TestServer::start().await;
    let (mine, line) = (server.sign_up("john").await, Proxy::to_redis().await);
    let redis = line.redis_url();
    let slow = server
        .replica_with(&[("REDIS_URL", &redis), ("LATCHKEY_REDIS_TIMEOUT", "30s")])
        .await;
    line.set(Line::Held);
    let overtake = async {
        let recorded = || async { ask(&server, "select count(*) from sessions").await == "2" };
        until("its session is in the record", recorded).await;
        change_password(&server, &mine, PASSWORD, NEW_PASSWORD)
            .await
            .is(204, "");
        line.set(Line::Open);
    };
    let (overtaken, ()) = tokio::join!(slow.log_in("john", PASSWORD), overtake);
    overtaken.is(401, "invalid_credentials");
    assert_eq!(
        ask(
            &server,
            "select count(*) from sessions where revoked_at is null"
        )
        .await,
        "1"
    );
}

#[tokio::test]
async fn the_dashboard_shows_account_sessions_and_items() {
    let server = TestServer::shared().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    let stranger = server.sign_up("jane").await;
    for session in [&first, &second, &stranger] {
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
    let seen: Vec<_> = sessions
        .iter()
        .map(|session| (&session["id"], &session["current"]))
        .collect();
    let (first, second) = (
        first.claims()["sid"].clone(),
        second.claims()["sid"].clone(),
    );
    assert_eq!(seen, [(&first, &json!(false)), (&second, &json!(true))]);
    assert_eq!(sessions[0]["ip_address"], "127.0.0.1");
}

#[tokio::test]
async fn the_dashboard_forgets_a_session_that_ended() {
    let server = TestServer::shared().await;
    let (first, second) = (server.sign_up("john").await, server.sign_in("john").await);
    server.log_out(&first.access_token).await.is(204, "");
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

/// Neither a row nor an event for each of a thousand requests that change nothing.
#[tokio::test]
async fn a_renaming_to_the_same_name_writes_nothing() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let before = ask(
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
            .with_token(Method::PATCH, "/user", &john.access_token, body)
            .await
            .is(200, "");
    }
    assert_eq!(
        ask(
            &server,
            "select u::text || (select count(*) from audit_events) from users u"
        )
        .await,
        before
    );
}

#[tokio::test]
async fn trying_user_names_by_renaming_is_limited_like_signing_up() {
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_UP", "3/1h"),
    ])
    .await;
    server.sign_up("taken").await;
    let john = server.sign_up("john").await;
    let rename = |name: &'static str| {
        server.with_token(
            Method::PATCH,
            "/user",
            &john.access_token,
            json!({"username": name}),
        )
    };
    rename("taken").await.is(409, "username_taken");
    rename("taken").await.is(429, "too_many_requests");
    let name = server
        .with_token(
            Method::PATCH,
            "/user",
            &john.access_token,
            json!({"name": "John"}),
        )
        .await;
    name.is(200, "");
}
