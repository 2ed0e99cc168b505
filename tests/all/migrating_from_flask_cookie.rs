//! B: a Flask service on PostgreSQL, for browsers.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    operator,
    test_server::{PASSWORD, Session, TestResponse, TestServer},
};

const NEW_PASSWORD: &str = "of my own choice 7";

/// The only field that keeps a browser signed in, of an answer that sets it.
fn cookie(response: &TestResponse) -> &str {
    response
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
}

#[tokio::test]
async fn its_requests_in_order() {
    let (server, mails) = TestServer::with_mail(&[]).await;

    // Signing up means being signed in.
    let up = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    let first = Session::of(server.post("/signup", up).await.is(201, ""));
    assert_eq!(server.verify(&first.access_token).await.0, 204);

    // Signing in by e-mail, and the dashboard.
    let login = server
        .post(
            "/login",
            json!({"email": "john@example.com", "password": PASSWORD}),
        )
        .await;
    let second = Session::of(login.is(200, ""));
    let dashboard = server
        .with_token(Method::GET, "/dashboard", &second.access_token, Value::Null)
        .await;
    assert_eq!(
        dashboard.is(200, "").body["user"]["email"],
        "john@example.com"
    );

    // Logging out.
    server.log_out(&second.access_token).await.is(204, "");

    // The password is lost: a code by mail, and a password of one's own choice.
    server
        .post("/send-mail", json!({"email": "john@example.com"}))
        .await
        .is(202, "");
    let code = mails.code_for("john@example.com").await;
    server
        .reset_password("john@example.com", &code, NEW_PASSWORD)
        .await
        .is(204, "");
    server
        .log_in("john@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    let third = Session::of(
        server
            .log_in("john@example.com", NEW_PASSWORD)
            .await
            .is(200, ""),
    );

    // Deleting the account.
    server
        .with_token(Method::DELETE, "/user", &third.access_token, Value::Null)
        .await
        .is(204, "");
    server
        .log_in("john@example.com", NEW_PASSWORD)
        .await
        .is(401, "invalid_credentials");

    // Deleting somebody by address.
    server.sign_up_with_email("mary", "mary@example.com").await;
    operator::told_with(&server, &["delete", "mary@example.com", "--yes"], "").await;
    server
        .log_in("mary@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}

/// The same in its browser: a JWT in a cookie, ten sliding minutes, and a logout that clears it.
#[tokio::test]
async fn its_requests_in_order_with_a_cookie() {
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

    // Signing up means being signed in.
    let up = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/signup", "", up).await;
    send(
        Method::GET,
        "/dashboard",
        cookie(response.is(201, "")),
        Value::Null,
    )
    .await
    .is(200, "");

    // Signing in by e-mail, for ten minutes; the dashboard is for valid cookies only.
    let login = json!({"email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/session", "", login).await;
    let john = cookie(response.is(200, "")).to_owned();
    let dashboard = send(Method::GET, "/dashboard", &john, Value::Null).await;
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

    // After logging out, a copy of the cookie is rejected.
    send(Method::DELETE, "/session", &john, Value::Null)
        .await
        .is(204, "");
    send(Method::GET, "/dashboard", &john, Value::Null)
        .await
        .is(401, "token_revoked");

    // Deleting the account.
    let login = json!({"email": "john@example.com", "password": PASSWORD});
    let response = send(Method::POST, "/session", "", login).await;
    let gone = send(
        Method::DELETE,
        "/user",
        cookie(response.is(200, "")),
        Value::Null,
    )
    .await;
    assert_eq!(cookie(gone.is(204, "")), "__Host-latchkey=");
    server
        .log_in("john@example.com", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}
