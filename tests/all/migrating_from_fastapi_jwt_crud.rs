//! D: a FastAPI JWT + CRUD example. Its requests work as they were.

use reqwest::Method;
use serde_json::{Value, json};

use crate::test_server::{Session, TestServer};

#[tokio::test]
async fn its_requests_in_order() {
    let server = TestServer::shared().await;
    server
        .post(
            "/signup",
            json!({"username": "john", "password": "secret123"}),
        )
        .await
        .is(201, "");

    // The form, and what it gives: 15 minutes and 7 days.
    let login = server
        .form("/login", &[("username", "john"), ("password", "secret123")])
        .await;
    login.is(200, "");
    assert_eq!(
        (login.text("token_type"), &login.body["expires_in"]),
        ("bearer".into(), &json!(900))
    );
    assert_eq!(login.body["refresh_expires_in"], 604_800);
    let Session {
        access_token,
        refresh_token,
    } = Session::of(&login);

    // The items.
    let call = |method, path: String, body| {
        let (server, token) = (&server, &access_token);
        async move { server.with_token(method, &path, token, body).await }
    };
    let book = json!({"name": "Book", "description": "A nice book"});
    let made = call(Method::POST, "/items/".to_owned(), book).await;
    let path = format!("/items/{}", made.is(201, "").text("id"));
    assert_eq!(
        (made.text("name"), made.text("description")),
        ("Book".into(), "A nice book".into())
    );
    let list = call(Method::GET, "/items/".to_owned(), Value::Null).await;
    assert_eq!(list.is(200, "").body["data"], json!([made.body]));
    call(Method::GET, path.clone(), Value::Null)
        .await
        .is(200, "");
    let update = json!({"name": "Updated book", "description": "An even nicer book"});
    let updated = call(Method::PUT, path.clone(), update).await;
    assert_eq!(updated.is(200, "").text("name"), "Updated book");
    call(Method::DELETE, path, Value::Null).await.is(204, "");

    // A new pair.
    let pair = server
        .post("/refresh", json!({"refresh_token": refresh_token}))
        .await;
    Session::of(pair.is(200, ""));
}
