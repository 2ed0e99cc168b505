//! Migration C: a FastAPI service with an authentication flow from scratch.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    operator, program,
    test_server::{PASSWORD, Session, TestServer, wait_until},
};

#[tokio::test]
async fn requests_of_the_service_succeed_in_order() {
    let server = TestServer::start().await;

    // Sign-up with an email address and a password, and sign-in.
    let body = json!({"email": "john@example.com", "password": PASSWORD});
    server.post("/signup", body.clone()).await.is(201, "");
    let session = Session::of(server.post("/login", body).await.is(200, ""));

    // The check accepts the access token.
    assert_eq!(server.verify(&session.access_token).await.0, 204);

    // Refresh before expiry.
    let refreshed = Session::of(server.refresh(&session.refresh_token).await.is(200, ""));

    // Expiry, and refresh after it.
    let short_lived = server
        .replica_with(&[("LATCHKEY_ACCESS_LIFETIME", "2s")])
        .await;
    let expiring = Session::of(
        short_lived
            .refresh(&refreshed.refresh_token)
            .await
            .is(200, ""),
    );
    let expired = (401, "token_expired".to_owned());
    wait_until("the token expires", || async {
        server.verify(&expiring.access_token).await == expired
    })
    .await;
    let last = Session::of(server.refresh(&expiring.refresh_token).await.is(200, ""));

    // Sign-out.
    server
        .post("/logout", json!({"refresh_token": last.refresh_token}))
        .await
        .is(204, "");

    // Revocation by an administrator and by the operator.
    let admin = server.admin("root").await;
    let sign_in = || async {
        Session::of(
            server
                .try_sign_in("john@example.com", PASSWORD)
                .await
                .is(200, ""),
        )
    };
    let first = sign_in().await;
    let path = format!("/users/{}/revoke", first.claim("sub"));
    server
        .with_token(Method::POST, &path, &admin.access_token, Value::Null)
        .await
        .is(204, "");
    let second = sign_in().await;
    operator::run_user_command(&server, &["revoke", "john@example.com", "--yes"], "").await;
    server
        .refresh(&second.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    server.refresh(&admin.refresh_token).await.is(200, "");

    // Revocation from another device of the user.
    let (third, fourth) = (sign_in().await, sign_in().await);
    let path = format!("/sessions/{}", third.claim("sid"));
    server
        .with_token(Method::DELETE, &path, &fourth.access_token, Value::Null)
        .await
        .is(204, "");
    server.refresh(&fourth.refresh_token).await.is(200, "");
}

#[test]
fn default_port_is_8000() {
    let config = program::run::<&str>(&["config"], [], "");
    assert!(String::from_utf8_lossy(&config.stdout).contains("LATCHKEY_LISTEN=127.0.0.1:8000\n"));
}
