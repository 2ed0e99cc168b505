//! Migration from a FastAPI example with JWT and CRUD: its requests work unchanged.

use reqwest::Method;
use serde_json::{Value, json};

use crate::test_server::{Session, TestServer};

#[tokio::test]
async fn original_requests_work_in_order() {
    let server = TestServer::shared().await;
    server
        .post(
            "/signup",
            json!({"username": "john", "password": "secret123"}),
        )
        .await
        .is(201, "");

    // Sign-in with a form returns tokens for 15 minutes and 7 days.
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

    // Items.
    let call = |method, path: String, body| {
        let (server, token) = (&server, &access_token);
        async move { server.with_token(method, &path, token, body).await }
    };
    let book = json!({"name": "Book", "description": "A nice book"});
    let created = call(Method::POST, "/items/".to_owned(), book).await;
    let path = format!("/items/{}", created.is(201, "").text("id"));
    assert_eq!(
        (created.text("name"), created.text("description")),
        ("Book".into(), "A nice book".into())
    );
    let list = call(Method::GET, "/items/".to_owned(), Value::Null).await;
    assert_eq!(list.is(200, "").body["data"], json!([created.body]));
    call(Method::GET, path.clone(), Value::Null)
        .await
        .is(200, "");
    let update = json!({"name": "Updated book", "description": "An even nicer book"});
    let updated = call(Method::PUT, path.clone(), update).await;
    assert_eq!(updated.is(200, "").text("name"), "Updated book");
    call(Method::DELETE, path, Value::Null).await.is(204, "");

    // Refresh.
    let pair = server
        .post("/refresh", json!({"refresh_token": refresh_token}))
        .await;
    Session::of(pair.is(200, ""));
}
