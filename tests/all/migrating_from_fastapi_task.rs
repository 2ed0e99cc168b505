//! E: a FastAPI test task.

use reqwest::Method;
use serde_json::{Value, json};

use crate::test_server::{PASSWORD, Session, TestServer};

#[tokio::test]
async fn its_requests_in_order() {
    let server = TestServer::shared().await;
    let up = json!({"username": "ivan", "password": PASSWORD, "name": "Иван Петров"});
    server.post("/signup", up).await.is(201, "");

    // Login and password give a token and a refresh token.
    let session = Session::of(server.log_in("ivan", PASSWORD).await.is(200, ""));

    // The user with their name.
    let user = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    assert_eq!(
        (user.is(200, "").text("username"), user.text("name")),
        ("ivan".into(), "Иван Петров".into())
    );

    // A new pair.
    let pair = server
        .post(
            "/refresh_jwt",
            json!({"refresh_token": session.refresh_token}),
        )
        .await;
    let next = Session::of(pair.is(200, ""));

    // Logging out is enforced here, not only forgotten there.
    server.log_out(&next.access_token).await.is(204, "");
    server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await
        .is(401, "token_revoked");
    server
        .post("/refresh_jwt", json!({"refresh_token": next.refresh_token}))
        .await
        .is(401, "invalid_refresh_token");
}
