//! Migration from a FastAPI service on PostgreSQL that requires a token for all other operations.

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
async fn original_requests_work_in_order() {
    let server = TestServer::with(&SETTINGS).await;
    // The operator creates the first user, because registration is disabled.
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
    operator::run_user_command(&server, &root, PASSWORD).await;
    let body = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    server
        .post("/signup", body.clone())
        .await
        .is(403, "signup_closed");

    // Sign-in with the OAuth 2.0 password form returns tokens for 30 minutes and 7 days.
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

    // Users: create, list, get, replace, update, delete.
    let call = |method, path: &str, body| {
        let (server, token, path) = (&server, &session.access_token, path.to_owned());
        async move { server.with_token(method, &path, token, body).await }
    };
    let created = call(Method::POST, "/users", body).await;
    let user_path = created.is(201, "").header("location").to_owned();
    assert_eq!(
        (created.text("username"), created.text("email")),
        ("john".into(), "john@example.com".into())
    );
    let list = call(Method::GET, "/users", Value::Null).await;
    assert_eq!(list.is(200, "").body["data"][1], created.body);
    assert_eq!(
        call(Method::GET, &user_path, Value::Null)
            .await
            .is(200, "")
            .body,
        created.body
    );
    let replacement = json!({
        "username": "jon",
        "email": "jon@example.com",
        "name": null,
        "role": "user",
        "disabled": false,
        "password": "another 12345",
    });
    assert_eq!(
        call(Method::PUT, &user_path, replacement)
            .await
            .is(200, "")
            .text("username"),
        "jon"
    );
    server
        .try_sign_in("jon@example.com", "another 12345")
        .await
        .is(200, "");
    let changed = call(
        Method::PATCH,
        &user_path,
        json!({"email": "jonathan@example.com"}),
    )
    .await;
    assert_eq!(changed.is(200, "").text("email"), "jonathan@example.com");
    call(Method::DELETE, &user_path, Value::Null)
        .await
        .is(204, "");
    call(Method::GET, &user_path, Value::Null)
        .await
        .is(404, "not_found");

    // The legacy path for refreshing still works.
    let pair = server
        .post(
            "/refresh-token",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    let next = Session::of(pair.is(200, ""));
    assert_eq!(server.verify(&next.access_token).await.0, 204);
    let repeated = server
        .post(
            "/refresh-token",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    assert_eq!(
        Session::of(repeated.is(200, "")).refresh_token,
        next.refresh_token,
        "a repeated request gets the same refresh token"
    );
}

/// Only sign-in, recovery, token, key, and health operations are public.
#[tokio::test]
async fn all_other_operations_require_authentication() {
    let server = TestServer::with(&SETTINGS).await;
    let public_operations = [
        "signUp",
        "confirmSignUp",
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
    let mut rejected = 0;
    for (method, path, operation) in operations("018f0000-0000-7000-8000-000000000000") {
        let id = operation["operationId"].as_str().expect("an operation ID");
        let request = with_example(server.request(method, &path), operation);
        let response = server.send(request).await;
        if public_operations.contains(&id) {
            assert_ne!(response.code(), "unauthenticated", "{id}");
        } else {
            assert_eq!(response.status, 401, "{id}: {}", response.string());
            rejected += 1;
        }
    }
    assert!(rejected >= 20, "{rejected}");
}
