//! Usernames that users can choose, reserved ones, and released ones.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, race_rounds, wait_until},
    test_stores::{execute, query_value},
};

fn assert_rejected(response: &TestResponse, reason: &str) {
    let error = &response.is(400, "invalid_request").body["errors"][0];
    assert_eq!(
        (&error["field"], &error["reason"]),
        (&json!("username"), &json!(reason)),
        "{}",
        response.string()
    );
}

async fn sign_up(server: &TestServer, username: &str) -> TestResponse {
    let body = json!({"username": username, "password": PASSWORD});
    server.post("/signup", body).await
}

#[tokio::test]
async fn malformed_usernames_are_rejected_everywhere() {
    let server = TestServer::shared().await;
    let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
    let id = Uuid::now_v7();
    for (username, reason) in [
        ("..", "must begin and end with a letter or digit"),
        ("-john", "must begin and end with a letter or digit"),
        ("john_", "must begin and end with a letter or digit"),
        (
            "../jane",
            "must contain only letters, digits, `.`, `_`, and `-`",
        ),
        (&id.to_string(), "must not be a UUID"),
        (
            &id.simple().to_string().to_uppercase(),
            "must not be a UUID",
        ),
    ] {
        assert_rejected(&sign_up(&server, username).await, reason);
        let change = json!({"username": username});
        let new = json!({"username": username, "password": PASSWORD});
        let mut replacement =
            json!({"email": null, "name": null, "role": "user", "disabled": false});
        replacement["username"] = json!(username);
        for (session, method, path, body) in [
            (&user, Method::PATCH, "/user".to_owned(), change.clone()),
            (&admin, Method::POST, "/users".to_owned(), new),
            (&admin, Method::PATCH, user.user_path(), change),
            (&admin, Method::PUT, user.user_path(), replacement),
        ] {
            let response = server
                .with_token(method, &path, &session.access_token, body)
                .await;
            assert_rejected(&response, reason);
        }
    }
}

/// Applications receive the username, so a user must not be able to choose one that looks like a
/// role.
#[tokio::test]
async fn users_cannot_choose_reserved_usernames() {
    let server = TestServer::with(&[("LATCHKEY_RESERVED_USERNAMES", "Acme, press-office")]).await;
    let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
    let reason = "is reserved; choose another username";
    for username in [
        "admin",
        "Administrator",
        "ROOT",
        "no-reply",
        "acme",
        "PressOffice",
    ] {
        assert_rejected(&sign_up(&server, username).await, reason);
        let change = json!({"username": username});
        let response = server
            .with_token(Method::PATCH, "/user", &user.access_token, change)
            .await;
        assert_rejected(&response, reason);
        let browser = server
            .request(Method::POST, "/signup")
            .header("x-latchkey-request", "1")
            .json(&json!({"username": username, "password": PASSWORD}));
        assert_rejected(&server.send(browser).await, reason);
    }
    sign_up(&server, "acme1").await.is(201, "");
    // An administrator can assign a reserved username. Its user can keep it, and change its case.
    let change = json!({"username": "support"});
    server
        .with_token(
            Method::PATCH,
            &user.user_path(),
            &admin.access_token,
            change,
        )
        .await
        .is(200, "");
    for body in [
        json!({"username": "support", "name": "Support"}),
        json!({"username": "Support"}),
    ] {
        server
            .with_token(Method::PATCH, "/user", &user.access_token, body)
            .await
            .is(200, "");
    }
    let created = json!({"username": "webmaster", "password": PASSWORD});
    server
        .with_token(Method::POST, "/users", &admin.access_token, created)
        .await
        .is(201, "");
    assert_eq!(
        server
            .with_token(Method::GET, "/user", &user.access_token, Value::Null)
            .await
            .text("username"),
        "Support"
    );
}

async fn rename(server: &TestServer, session: &Session, username: &str) -> TestResponse {
    let change = json!({"username": username});
    server
        .with_token(Method::PATCH, "/user", &session.access_token, change)
        .await
}

/// Ends the reservation of all released names.
async fn end_reservations(server: &TestServer) {
    let end = "update reserved_names set reserved_until = now() - interval '1 second' \
        where reserved_until is not null";
    execute(server, end).await;
}

/// Tokens contain a name until they expire, so another user can't take it at once.
#[tokio::test]
async fn released_username_stays_reserved() {
    let server = TestServer::with(&[("LATCHKEY_NAME_RESERVATION", "70m")]).await;
    let john = server.sign_up("john").await;
    rename(&server, &john, "jane").await.is(200, "");
    for username in ["john", "JOHN", "jane"] {
        sign_up(&server, username).await.is(409, "username_taken");
    }
    let remaining = "select round(extract(epoch from reserved_until - now()) / 60)::text
        from reserved_names where reserved_until is not null";
    assert_eq!(query_value(&server, remaining).await, "70");
    // The user can use the name again, and then the other one is reserved.
    rename(&server, &john, "John").await.is(200, "");
    sign_up(&server, "jane").await.is(409, "username_taken");
    end_reservations(&server).await;
    let jane = Session::of(sign_up(&server, "jane").await.is(201, ""));
    rename(&server, &john, "jane")
        .await
        .is(409, "username_taken");
    rename(&server, &jane, "john")
        .await
        .is(409, "username_taken");
}

#[tokio::test]
async fn names_of_deleted_user_stay_reserved() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let john = server.sign_up_with_email("john", "john@example.com").await;
    // An unverified address can belong to another person, so it isn't reserved.
    let verify = "update users set email_verified = true where username = 'john'";
    execute(&server, verify).await;
    let change = json!({"email": "j@example.com"});
    server
        .with_token(
            Method::PATCH,
            &john.user_path(),
            &admin.access_token,
            change,
        )
        .await
        .is(200, "");
    server
        .with_token(
            Method::DELETE,
            &john.user_path(),
            &admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let new = |username: &str, email: &str| json!({"username": username, "email": email, "password": PASSWORD});
    for (body, code) in [
        (new("John", "mary@example.com"), "username_taken"),
        (new("mary", "john@example.com"), "email_taken"),
    ] {
        server.post("/signup", body.clone()).await.is(409, code);
        // The reservation applies to administrators, too.
        server
            .with_token(Method::POST, "/users", &admin.access_token, body)
            .await
            .is(409, code);
    }
    server
        .post("/signup", new("jane", "J@example.com"))
        .await
        .is(201, "");
    end_reservations(&server).await;
    server
        .post("/signup", new("john", "john@example.com"))
        .await
        .is(201, "");
}

/// Of several users who take a released name at once, one gets it.
#[tokio::test]
async fn released_name_is_taken_once() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    for round in 0..race_rounds(20) {
        let username = format!("john{round}");
        let john = server.sign_up(&username).await;
        let mary = server.sign_up(&format!("mary{round}")).await;
        // The owner releases the name while others try to take it.
        let attempts =
            join_all((0..4).map(|number| {
                sign_up(if number % 2 == 0 { &server } else { &replica }, &username)
            }));
        let other_name = format!("jane{round}");
        let (released, attempts, renamed) = tokio::join!(
            rename(&server, &john, &other_name),
            attempts,
            rename(&replica, &mary, &username),
        );
        released.is(200, "");
        for response in attempts.iter().chain([&renamed]) {
            response.is(409, "username_taken");
        }
        end_reservations(&server).await;
        let attempts =
            join_all((0..4).map(|number| {
                sign_up(if number % 2 == 0 { &server } else { &replica }, &username)
            }))
            .await;
        let taken = attempts.iter().filter(|response| response.status == 201);
        assert_eq!(taken.count(), 1, "round {round}");
    }
}

/// The cleanup worker deletes only reservations that have passed.
#[tokio::test]
async fn cleanup_deletes_passed_reservations() {
    let server = TestServer::with(&[("LATCHKEY_CLEANUP_INTERVAL", "1s")]).await;
    for name in ["john", "mary"] {
        let session = server.sign_up(name).await;
        rename(&server, &session, &format!("{name}-doe"))
            .await
            .is(200, "");
    }
    let released = "select count(*) from reserved_names where reserved_until is not null";
    assert_eq!(query_value(&server, released).await, "2");
    let pass = "update reserved_names set reserved_until = now() - interval '1 second'
        where hash = name_hash('username', 'john')";
    execute(&server, pass).await;
    wait_until("one reservation is deleted", || async {
        query_value(&server, released).await == "1"
    })
    .await;
    sign_up(&server, "mary").await.is(409, "username_taken");
    let names = "select count(*) from reserved_names";
    assert_eq!(query_value(&server, names).await, "3");
}
