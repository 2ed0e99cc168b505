//! Personal access tokens: what programs of a user's sign in with.

mod caching; // what is on record of them, and what is known while it cannot be asked
mod limits; // how many, how long, by whom

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{ask, execute},
};

/// What is answered when somebody wants a token.
pub async fn want(server: &TestServer, token: &str, wanted: Value) -> TestResponse {
    server
        .with_token(Method::POST, "/user/tokens", token, wanted)
        .await
}

/// A token with these scopes: its id and its text.
pub async fn make(server: &TestServer, owner: &Session, scope: &str) -> (String, String) {
    let made = want(
        server,
        &owner.access_token,
        json!({"name": "job", "scope": scope}),
    )
    .await;
    (made.is(201, "").text("id"), made.text("token"))
}

pub async fn delete(server: &TestServer, token: &str, id: &str) -> TestResponse {
    server
        .with_token(
            Method::DELETE,
            &format!("/user/tokens/{id}"),
            token,
            Value::Null,
        )
        .await
}

pub async fn get(server: &TestServer, token: &str, path: &str) -> TestResponse {
    server
        .with_token(Method::GET, path, token, Value::Null)
        .await
}

#[tokio::test]
async fn it_is_shown_once_and_opens_what_it_says() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let wanted = json!({"name": "backup job", "scope": "items:read user:read"});
    let made = want(&server, &john.access_token, wanted).await;
    let token = made.is(201, "").text("token");
    assert_eq!(
        (made.header("cache-control"), made.text("scope")),
        ("no-store", "user:read items:read".into())
    );
    get(&server, &token, "/items").await.is(200, "");
    let listed = async || get(&server, &token, "/user/tokens").await;
    until("its use is told", || async {
        listed().await.body["data"][0]["last_used_at"].is_string()
    })
    .await;
    let listed = listed().await;
    let mut shown = made.body.clone();
    shown.as_object_mut().expect("an object").remove("token");
    shown["last_used_at"] = listed.is(200, "").body["data"][0]["last_used_at"].clone();
    assert_eq!(
        listed.body["data"],
        json!([shown]),
        "the same, without what is known once"
    );
    // Whoever it is asked of is told the same as by an access token.
    let verified = get(&server, &token, "/auth/verify").await;
    assert_eq!(
        verified.is(204, "").header("x-auth-user"),
        john.claim("sub")
    );
    for (path, body) in [
        ("/items", json!({"name": "Book"})),
        ("/logout?scope=all", Value::Null),
    ] {
        let refused = server.with_token(Method::POST, path, &token, body).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.string());
    }
    let rename = server
        .with_token(Method::PATCH, "/user", &token, json!({"name": "Changed"}))
        .await;
    assert!(
        rename
            .is(403, "insufficient_scope")
            .header("www-authenticate")
            .contains("scope=\"user:write\"")
    );
    assert_eq!(ask(&server, "select count(*) from items").await, "0");
    assert_eq!(server.verify(&john.access_token).await.0, 204);
}

/// A prefix that scanners know, and a checksum by which a typing mistake shows; nothing but the
/// very text opens anything.
#[tokio::test]
async fn nothing_but_the_very_text_is_accepted() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read").await;
    let (_, other) = make(&server, &john, "user:read").await;
    assert!(
        token.starts_with("lkp_") && token.len() == 74,
        "{}",
        token.len()
    );
    assert!(
        token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    );
    // Read before, so that what is remembered of it is asked as well.
    assert_eq!(server.verify(&token).await.0, 204);
    let wrong = [
        token[4..].to_owned(),
        token.replace("lkp_", "lks_"),
        token.replace("lkp_", "LKP_"),
        format!("{token}A"),
        format!("{token}="),
        token[..73].to_owned(),
        format!("{}{}", &token[..40], &other[40..]),
        format!("{}{}", &token[..20], &other[20..]),
        format!("{token},{other}"),
        "lkp_".to_owned(),
        format!("lkp_{}", "A".repeat(8000)),
    ];
    for wrong in wrong {
        assert_eq!(
            server.verify(&wrong).await,
            (401, "invalid_token".into()),
            "{wrong}"
        );
    }
    assert_eq!(server.verify(&token).await.0, 204);
}

/// A cookie that no browser was given would be slid for ever.
#[tokio::test]
async fn it_is_no_cookie_and_no_refresh_token() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read user:write items:read").await;
    for (path, status, code) in [
        ("/user", 401, "invalid_token"),
        ("/items", 401, "invalid_token"),
        ("/session", 401, "unauthenticated"),
    ] {
        let request = server
            .request(Method::GET, path)
            .header("cookie", format!("__Host-latchkey={token}"));
        let response = server.send(request).await;
        assert_eq!(response.is(status, code).header("set-cookie"), "", "{path}");
    }
    server
        .refresh(&token)
        .await
        .is(401, "invalid_refresh_token");
    server.log_out(&token).await.is(401, "invalid_token");
    assert_eq!(
        server.verify(&token).await.0,
        204,
        "none of it did anything"
    );
}

#[tokio::test]
async fn it_is_deleted_by_its_owner_at_once_and_for_good() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let (john, mary) = (server.sign_up("john").await, server.sign_up("mary").await);
    let (id, token) = make(&server, &john, "user:read").await;
    let (kept, stays) = make(&server, &john, "user:read user:write").await;
    // What the replica knows of it is from before.
    assert_eq!(replica.verify(&token).await.0, 204);
    delete(&server, &mary.access_token, &id)
        .await
        .is(404, "not_found");
    delete(&server, &token, &id)
        .await
        .is(403, "insufficient_scope");
    assert_eq!(replica.verify(&token).await.0, 204);
    // Repeating it is fine.
    for _ in 0..2 {
        delete(&server, &john.access_token, &id).await.is(204, "");
        for server in [&server, &replica] {
            assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
        }
    }
    // Nobody learns that it was John's.
    delete(&server, &mary.access_token, &id)
        .await
        .is(404, "not_found");
    for unknown in ["018f0000-0000-7000-8000-000000000000", "x"] {
        delete(&server, &john.access_token, unknown)
            .await
            .is(404, "not_found");
    }
    // A program may give up its own.
    delete(&server, &stays, &kept).await.is(204, "");
    // Which has never read it.
    assert_eq!(replica.verify(&stays).await, (401, "invalid_token".into()));
    assert_eq!(
        ask(&server, "select count(*) from personal_access_tokens").await,
        "0"
    );
    assert_eq!(
        ask(
            &server,
            "select count(*) from audit_events where event = 'personal_access_token_revoked'"
        )
        .await,
        "2"
    );
}

/// An administrator's program administers only if it was made for that, and only while its owner
/// may.
#[tokio::test]
async fn it_administers_while_its_owner_may() {
    let server = TestServer::shared().await;
    let (root, second) = (server.admin("root").await, server.admin("second").await);
    let (_, token) = make(&server, &root, "admin").await;
    let (_, weak) = make(&server, &root, "user:read").await;
    get(&server, &token, "/users").await.is(200, "");
    get(&server, &weak, "/users").await.is(403, "forbidden");
    let path = root.user_path();
    // What only its owner may do, it does not do as an administrator either.
    for (method, body) in [
        (Method::PATCH, json!({"password": "correct horse 9"})),
        (
            Method::PUT,
            json!({
                "username": "root",
                "email": null,
                "name": null,
                "role": "admin",
                "disabled": false,
            }),
        ),
        (Method::DELETE, Value::Null),
    ] {
        server
            .with_token(method, &path, &token, body)
            .await
            .is(403, "forbidden");
    }
    server.sign_in("root").await;
    let demoted = server
        .with_token(
            Method::PATCH,
            &path,
            &second.access_token,
            json!({"role": "user"}),
        )
        .await;
    demoted.is(200, "");
    for token in [token, weak] {
        get(&server, &token, "/users")
            .await
            .is(401, "token_revoked");
    }
    // Behind the gateway's back, too: what says admin is worth nothing to somebody who is none.
    let john = server.sign_up("john").await;
    let (id, forged) = make(&server, &john, "user:read").await;
    execute(
        &server,
        &format!("update personal_access_tokens set scope = 'admin user:read' where id = '{id}'"),
    )
    .await;
    get(&server, &forged, "/users").await.is(403, "forbidden");
}

/// Who changes a password because it was told around keeps the programs running; who resets it has
/// lost everything.
#[tokio::test]
async fn a_password_change_leaves_it_alone() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let (_, token) = make(&server, &john, "user:read").await;
    let change = json!({"current_password": PASSWORD, "new_password": "another one 7"});
    server
        .with_token(Method::POST, "/user/password", &john.access_token, change)
        .await
        .is(204, "");
    get(&server, &token, "/user").await.is(200, "");
    server
        .with_token(
            Method::POST,
            "/logout?scope=all",
            &john.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    get(&server, &token, "/user").await.is(401, "token_revoked");
}
