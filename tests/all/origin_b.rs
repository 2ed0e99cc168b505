//! B: a Flask service on PostgreSQL, for browsers.
//!
//! Waits for the browser's cookie: `POST /session`, `POST /signup` with `X-Latchkey-Request: 1`, ten sliding minutes, a
//! logout that clears the cookie.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, PASSWORD, Session},
    mail::MailServer,
    operator,
};

const NEW_PASSWORD: &str = "of my own choice 7";

#[tokio::test]
async fn its_requests_in_order() {
    let mails = MailServer::start();
    let gateway = Gateway::with(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;

    // Signing up means being signed in.
    let up = json!({"username": "john", "email": "john@example.com", "password": PASSWORD});
    let first = Session::of(gateway.post("/signup", up).await.is(201, ""));
    assert_eq!(gateway.verify(&first.access_token).await.0, 204);

    // Signing in by e-mail; the dashboard is for valid tokens only.
    let login = gateway.post("/login", json!({"email": "john@example.com", "password": PASSWORD})).await;
    let second = Session::of(login.is(200, ""));
    gateway.get("/dashboard").await.is(401, "unauthenticated");
    let dashboard = gateway.with_token(Method::GET, "/dashboard", &second.access_token, Value::Null).await;
    assert_eq!(dashboard.is(200, "").body["user"]["email"], "john@example.com");

    // Logging out ends the token.
    gateway.log_out(&second.access_token).await.is(204, "");
    let dashboard = gateway.with_token(Method::GET, "/dashboard", &second.access_token, Value::Null).await;
    dashboard.is(401, "token_revoked");

    // The password is lost: a code by mail, and a password of one's own choice.
    gateway.post("/send-mail", json!({"email": "john@example.com"})).await.is(202, "");
    let code = mails.code_for("john@example.com").await;
    let reset = json!({"email": "john@example.com", "code": code, "new_password": NEW_PASSWORD});
    gateway.post("/password/reset", reset).await.is(204, "");
    assert_eq!(gateway.verify(&first.access_token).await, (401, "token_revoked".into()));
    gateway.log_in("john@example.com", PASSWORD).await.is(401, "invalid_credentials");
    let third = Session::of(gateway.log_in("john@example.com", NEW_PASSWORD).await.is(200, ""));

    // Deleting the account.
    gateway.with_token(Method::DELETE, "/user", &third.access_token, Value::Null).await.is(204, "");
    gateway.log_in("john@example.com", NEW_PASSWORD).await.is(401, "invalid_credentials");

    // Deleting somebody by address.
    let mary = gateway.sign_up_with_email("mary", "mary@example.com").await;
    operator::told_with(&gateway, &["delete", "mary@example.com", "--yes"], "").await;
    assert_eq!(gateway.verify(&mary.access_token).await, (401, "token_revoked".into()));
    gateway.log_in("mary@example.com", PASSWORD).await.is(401, "invalid_credentials");
}
