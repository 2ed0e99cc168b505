//! Migration from a Flask service on PostgreSQL for browsers: its requests work unchanged.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    operator,
    test_server::{PASSWORD, Session, TestResponse, TestServer},
};

const NEW_PASSWORD: &str = "of my own choice 7";

/// Returns the name and the value of the cookie that a response sets.
fn set_cookie(response: &TestResponse) -> &str {
    response
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
}

#[tokio::test]
async fn original_requests_work_in_order() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;

    // Sign-up also signs the user in.
    let new_user = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    let first = Session::of(server.post("/signup", new_user).await.is(201, ""));
    assert_eq!(server.verify(&first.access_token).await.0, 204);

    // Sign-in with the email address, and the dashboard.
    let sign_in = server
        .post(
            "/login",
            json!({"email": "john@example.com", "password": PASSWORD}),
        )
        .await;
    let second = Session::of(sign_in.is(200, ""));
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    assert_eq!(
        dashboard.is(200, "").body["user"]["email"],
        "john@example.com"
    );

    // Sign-out.
    server.sign_out(&second.access_token).await.is(204, "");

    // Password reset with a one-time code from an email.
    server
        .post("/send-mail", json!({"email": "john@example.com"}))
        .await
        .is(202, "");
    let code = mail_server.code_for("john@example.com").await;
    server
        .reset_password("john@example.com", &code, NEW_PASSWORD)
        .await
        .is(204, "");
    server
        .try_sign_in("john@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    let third = Session::of(
        server
            .try_sign_in("john@example.com", NEW_PASSWORD)
            .await
            .is(200, ""),
    );

    // Deletion by the user.
    server
        .with_token(Method::DELETE, "/user", &third.access_token, Value::Null)
        .await
        .is(204, "");
    server
        .try_sign_in("john@example.com", NEW_PASSWORD)
        .await
        .is(401, "invalid_credentials");

    // Deletion by the operator.
    server.sign_up_with_email("mary", "mary@example.com").await;
    operator::run_user_command(&server, &["delete", "mary@example.com", "--yes"], "").await;
    server
        .try_sign_in("mary@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}

/// The Flask service stored a JWT in a cookie with a sliding expiration of ten minutes, and removed
/// the cookie on sign-out.
#[tokio::test]
async fn original_requests_work_in_order_with_cookie() {
    let server = TestServer::shared().await;
    let send = |method, path, cookie: &str, body: Value| {
        let request = server
            .request(method, path)
            .header("x-latchkey-request", "1")
            .header(header::COOKIE, cookie);
        server.send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
    };

    // Sign-up also signs the user in.
    let new_user = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/signup", "", new_user).await;
    send(
        Method::GET,
        "/dashboard",
        set_cookie(response.is(201, "")),
        Value::Null,
    )
    .await
    .is(200, "");

    // Sign-in with the email address. The dashboard requires a valid cookie.
    let credentials = json!({"email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/session", "", credentials).await;
    let cookie = set_cookie(response.is(200, "")).to_owned();
    let dashboard = send(Method::GET, "/dashboard", &cookie, Value::Null).await;
    assert_eq!(
        dashboard.is(200, "").body["user"]["email"],
        "john@example.com"
    );
    send(
        Method::GET,
        "/dashboard",
        "__Host-latchkey=nonsense",
        Value::Null,
    )
    .await
    .is(401, "invalid_token");

    // After the sign-out, a copy of the cookie is rejected.
    send(Method::DELETE, "/session", &cookie, Value::Null)
        .await
        .is(204, "");
    send(Method::GET, "/dashboard", &cookie, Value::Null)
        .await
        .is(401, "token_revoked");

    // Deletion by the user.
    let credentials = json!({"email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/session", "", credentials).await;
    let deletion = send(
        Method::DELETE,
        "/user",
        set_cookie(response.is(200, "")),
        Value::Null,
    )
    .await;
    assert_eq!(set_cookie(deletion.is(204, "")), "__Host-latchkey=");
    server
        .try_sign_in("john@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}
