//! Signing up and in.

use serde_json::json;

use crate::gateway::{Gateway, Session};

#[tokio::test]
async fn somebody_signs_up_and_is_signed_in() {
    let gateway = Gateway::start().await;
    let answer = gateway.post("/signup", json!({"username": "john", "password": "secret123"})).await;
    answer.is(201, "");
    assert_eq!(answer.header("location"), "/user");
    assert_eq!(gateway.verify(&Session::of(&answer).access_token).await.0, 204);
}
