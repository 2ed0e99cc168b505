//! Migration E: a FastAPI service from a coding task.

use reqwest::Method;
use serde_json::{Value, json};

use crate::test_server::{PASSWORD, Session, TestServer};

#[tokio::test]
async fn requests_of_the_service_succeed_in_order() {
    let server = TestServer::shared().await;
    let sign_up = json!({"username": "ivan", "password": PASSWORD, "name": "Иван Петров"});
    server.post("/signup", sign_up).await.is(201, "");

    // A sign-in returns an access token and a refresh token.
    let session = Session::of(server.try_sign_in("ivan", PASSWORD).await.is(200, ""));

    // The user has a name.
    let user = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    assert_eq!(
        (user.is(200, "").text("username"), user.text("name")),
        ("ivan".into(), "Иван Петров".into())
    );

    // A refresh returns new tokens.
    let pair = server
        .post(
            "/refresh_jwt",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    let refreshed = Session::of(pair.is(200, ""));

    // A sign-out revokes the tokens on the server.
    server.sign_out(&refreshed.access_token).await.is(204, "");
    server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await
        .is(401, "token_revoked");
    server
        .post(
            "/refresh_jwt",
            json!({"refresh_token": refreshed.refresh_token}),
        )
        .await
        .is(401, "invalid_refresh_token");
}
