//! A: a FastAPI service on PostgreSQL, where everything but signing in needs a token.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    contract::{operations, with_example},
    operator,
    test_server::{PASSWORD, Session, TestServer},
};

const SETTINGS: [(&str, &str); 3] = [
    ("LATCHKEY_SIGNUP", "admin"),
    ("LATCHKEY_ACCESS_LIFETIME", "30m"),
    ("LATCHKEY_SESSION_IDLE_TIMEOUT", "7d"),
];

#[tokio::test]
async fn its_requests_in_order() {
    let server = TestServer::with(&SETTINGS).await;
    // The first account is the operator's gift; nobody signs up.
    let root = [
        "create",
        "--username",
        "root",
        "--email",
        "root@example.com",
        "--role",
        "admin",
        "--password-stdin",
    ];
    operator::told_with(&server, &root, PASSWORD).await;
    let body = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    server
        .post("/signup", body.clone())
        .await
        .is(403, "signup_closed");

    // Signing in by the OAuth2 form: 30 minutes and 7 days.
    let form = [
        ("grant_type", "password"),
        ("username", "root"),
        ("password", PASSWORD),
    ];
    let login = server.form("/login", &form).await;
    login.is(200, "");
    assert_eq!(
        (&login.body["expires_in"], &login.body["refresh_expires_in"]),
        (&json!(1_800), &json!(604_800))
    );
    assert_eq!(login.text("token_type"), "bearer");
    let session = Session::of(&login);

    // Users: create, list, read, replace, change, delete.
    let call = |method, path: &str, body| {
        let (server, token, path) = (&server, &session.access_token, path.to_owned());
        async move { server.with_token(method, &path, token, body).await }
    };
    let made = call(Method::POST, "/users", body).await;
    let john = made.is(201, "").header("location").to_owned();
    assert_eq!(
        (made.text("username"), made.text("email")),
        ("john".into(), "john@example.com".into())
    );
    let list = call(Method::GET, "/users", Value::Null).await;
    assert_eq!(list.is(200, "").body["data"][1], made.body);
    assert_eq!(
        call(Method::GET, &john, Value::Null).await.is(200, "").body,
        made.body
    );
    let whole = json!({
        "username": "jon",
        "email": "jon@example.com",
        "name": null,
        "role": "user",
        "disabled": false,
        "password": "another 12345",
    });
    assert_eq!(
        call(Method::PUT, &john, whole)
            .await
            .is(200, "")
            .text("username"),
        "jon"
    );
    server
        .log_in("jon@example.com", "another 12345")
        .await
        .is(200, "");
    let changed = call(
        Method::PATCH,
        &john,
        json!({"email": "jonathan@example.com"}),
    )
    .await;
    assert_eq!(changed.is(200, "").text("email"), "jonathan@example.com");
    call(Method::DELETE, &john, Value::Null).await.is(204, "");
    call(Method::GET, &john, Value::Null)
        .await
        .is(404, "not_found");

    // Its own name for refreshing gives a new pair.
    let pair = server
        .post(
            "/refresh-token",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    let next = Session::of(pair.is(200, ""));
    assert_eq!(server.verify(&next.access_token).await.0, 204);
    let again = server
        .post(
            "/refresh-token",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    assert_eq!(
        Session::of(again.is(200, "")).refresh_token,
        next.refresh_token,
        "a response that was lost comes again"
    );
}

/// What helps people to sign in, and what balancers ask, is all that is open.
#[tokio::test]
async fn everything_but_signing_in_needs_a_token() {
    let server = TestServer::with(&SETTINGS).await;
    let open = [
        "signUp",
        "signIn",
        "createBrowserSession",
        "deleteBrowserSession",
        "refreshTokens",
        "requestPasswordReset",
        "resetPassword",
        "issueToken",
        "revokeToken",
        "getAuthorizationServerMetadata",
        "getJwks",
        "getLiveness",
        "getReadiness",
    ];
    let mut refused = 0;
    for (method, path, operation) in operations("018f0000-0000-7000-8000-000000000000") {
        let id = operation["operationId"].as_str().expect("each has one");
        let request = with_example(server.request(method, &path), operation);
        let response = server.send(request).await;
        if open.contains(&id) {
            assert_ne!(response.code(), "unauthenticated", "{id}");
        } else {
            assert_eq!(response.status, 401, "{id}: {}", response.string());
            refused += 1;
        }
    }
    assert!(refused >= 20, "{refused}");
}
