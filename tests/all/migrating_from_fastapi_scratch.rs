//! C: a FastAPI service, "auth flow from scratch".
//!
//! Waits for `POST /oauth/revoke`, and for the Postman collection in `openapi/`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    operator, program,
    test_server::{PASSWORD, Session, TestServer, until},
};

#[tokio::test]
async fn its_requests_in_order() {
    let server = TestServer::start().await;

    // Signing up with address and password, and signing in.
    let body = json!({"email": "john@example.com", "password": PASSWORD});
    server.post("/signup", body.clone()).await.is(201, "");
    let session = Session::of(server.post("/login", body).await.is(200, ""));

    // The check.
    assert_eq!(server.verify(&session.access_token).await.0, 204);

    // Renewal before expiry.
    let renewed = Session::of(server.refresh(&session.refresh_token).await.is(200, ""));

    // Expiry, and renewal after it.
    let hasty = server
        .replica_with(&[("LATCHKEY_ACCESS_LIFETIME", "2s")])
        .await;
    let short = Session::of(hasty.refresh(&renewed.refresh_token).await.is(200, ""));
    let expired = (401, "token_expired".to_owned());
    until("it expires", || async {
        server.verify(&short.access_token).await == expired
    })
    .await;
    let last = Session::of(server.refresh(&short.refresh_token).await.is(200, ""));

    // Revocation.
    server
        .post("/logout", json!({"refresh_token": last.refresh_token}))
        .await
        .is(204, "");

    // Revocation from the backend: by an administrator, and by the operator.
    let admin = server.admin("root").await;
    let john = || async {
        Session::of(
            server
                .log_in("john@example.com", PASSWORD)
                .await
                .is(200, ""),
        )
    };
    let first = john().await;
    let path = format!("/users/{}/revoke", first.claim("sub"));
    server
        .with_token(Method::POST, &path, &admin.access_token, Value::Null)
        .await
        .is(204, "");
    let second = john().await;
    operator::told_with(&server, &["revoke", "john@example.com", "--yes"], "").await;
    server
        .refresh(&second.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    server.refresh(&admin.refresh_token).await.is(200, "");

    // And from another of one's own devices.
    let (third, fourth) = (john().await, john().await);
    let path = format!("/sessions/{}", third.claim("sid"));
    server
        .with_token(Method::DELETE, &path, &fourth.access_token, Value::Null)
        .await
        .is(204, "");
    server.refresh(&fourth.refresh_token).await.is(200, "");
}

#[test]
fn it_listens_on_port_8000() {
    let config = program::run::<&str>(&["config"], [], "");
    assert!(String::from_utf8_lossy(&config.stdout).contains("LATCHKEY_LISTEN=127.0.0.1:8000\n"));
}
