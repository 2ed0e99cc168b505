//! Request encodings: chunked bodies, charsets, forms, and query parameters.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    bad_input::MARKER,
    raw_http,
    test_server::{PASSWORD, TestServer},
};

#[tokio::test]
async fn chunked_body_within_limit_is_accepted() {
    let server = TestServer::shared().await;
    server.sign_up("owner").await;
    let body = json!({"username": "owner", "password": PASSWORD}).to_string();
    let request = raw_http::chunked(
        "POST /login",
        "content-type: application/json\r\n",
        body.as_bytes(),
    );
    let response = raw_http::exchange(server.address, &request).await;
    assert_eq!(raw_http::status(&response), 200, "{response}");
}

#[tokio::test]
async fn json_media_type_ignores_case_and_accepts_utf8_charset() {
    let server = TestServer::shared().await;
    server.sign_up("owner").await;
    let body = json!({"username": "owner", "password": PASSWORD}).to_string();
    for media_type in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
    ] {
        let request = server
            .request(Method::POST, "/login")
            .header(header::CONTENT_TYPE, media_type);
        server.send(request.body(body.clone())).await.is(200, "");
    }
}

#[tokio::test]
async fn invalid_form_is_rejected_like_json() {
    let server = TestServer::shared().await;
    let long = format!("username={}&password=x", MARKER.repeat(30));
    let invalid_forms: [(&[u8], &str); 7] = [
        (b"", "password"),
        (b"username=hunter2zqx", "password"),
        (b"username=a&username=hunter2zqx&password=x", "username"),
        (b"username=a&password=x&role=hunter2zqx", "role"),
        (b"username=hunter2zqx%00&password=x", "username"),
        (b"username=&password=hunter2zqx", "username"),
        (long.as_bytes(), "username"),
    ];
    let send_form = |body: Vec<u8>| {
        let request = server.request(Method::POST, "/login");
        server.send(
            request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body),
        )
    };
    for (body, field) in invalid_forms {
        let response = send_form(body.to_vec()).await;
        let errors = response.is(400, "invalid_request").body["errors"]
            .as_array()
            .expect("field errors");
        assert!(
            errors.iter().any(|error| error["field"] == *field),
            "{}",
            response.string()
        );
        assert!(!response.string().contains(MARKER), "{}", response.string());
    }
    send_form(b"username=%FF%FE&password=x".to_vec())
        .await
        .is(400, "invalid_request");
}

/// `curl -d` sends JSON with the media type of a form, so the whole body becomes one field name.
#[tokio::test]
async fn json_sent_as_form_is_never_repeated() {
    let server = TestServer::shared().await;
    let session = server.sign_up("owner").await;
    let body =
        json!({"username": "owner", "password": MARKER, "current_password": MARKER}).to_string();
    for path in [
        "/signup",
        "/login",
        "/refresh",
        "/logout",
        "/user/password",
        "/password/reset",
        "/items",
    ] {
        let request = server
            .request(Method::POST, path)
            .bearer_auth(&session.access_token);
        let form = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = server.send(form.body(body.clone())).await;
        assert!(
            [400, 415].contains(&response.status),
            "{path}: {}",
            response.string()
        );
        assert!(
            !response.string().contains(MARKER),
            "{path}: {}",
            response.string()
        );
        assert!(response.headers.values().all(|value| {
            !value
                .as_bytes()
                .windows(10)
                .any(|text| text == b"hunter2zqx")
        }));
    }
}

#[tokio::test]
async fn invalid_query_parameter_is_rejected() {
    let server = TestServer::shared().await;
    let token = server.sign_up("owner").await.access_token;
    for (path, parameter) in [
        (format!("/items?limit=1&limit={MARKER}"), "limit"),
        (format!("/user?x={MARKER}&x=2"), "x"),
        (format!("/auth/verify?a={MARKER}&%61=2"), "a"),
        (format!("/items?limit={MARKER}"), "limit"),
        (format!("/items?after={MARKER}"), "after"),
    ] {
        let response = server
            .with_token(Method::GET, &path, &token, Value::Null)
            .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            parameter
        );
        assert!(!response.string().contains(MARKER), "{}", response.string());
    }
}
