//! Tests of `LATCHKEY_COOKIE_NAME`, with which environments below one domain use different cookies.

use reqwest::{Method, header};
use serde_json::json;

use super::{SetCookie, sign_in_request};
use crate::{
    test_server::{PASSWORD, TestServer},
    user_pages::Browser,
};

const STAGING: (&str, &str) = ("LATCHKEY_COOKIE_NAME", "latchkey_staging");

#[tokio::test]
async fn base_name_changes_all_cookies() {
    let server = TestServer::with(&[STAGING]).await;
    server.sign_up("john").await;
    let response = server
        .send(sign_in_request(&server, "john", PASSWORD))
        .await;
    let cookie = SetCookie::from_response(response.is(200, "")).expect("a cookie");
    assert_eq!(cookie.name, "__Host-latchkey_staging");
    let get = |cookies: String| {
        let request = server.request(Method::GET, "/session");
        server.send(request.header(header::COOKIE, cookies))
    };
    // The cookies of another environment don't count, also if there are many.
    let of_another = format!("__Host-latchkey={}; ", cookie.value).repeat(5);
    get(of_another.clone()).await.is(401, "unauthenticated");
    get(format!(
        "{of_another}__Host-latchkey_staging={}",
        cookie.value
    ))
    .await
    .is(200, "");

    let mut browser = Browser::new(&server);
    let form = [("username", "john"), ("password", PASSWORD)];
    browser.post("/sign-in", &form).await;
    let rejected = browser
        .get("/sign-in?return_to=https%3A%2F%2Fevil.example&signed_in=1")
        .await;
    let notes = rejected.headers.get_all(header::SET_COOKIE).iter();
    let mut names = notes.map(|cookie| cookie.to_str().expect("ASCII"));
    assert!(names.any(|cookie| cookie.starts_with("__Host-latchkey_staging-note=")));
}

#[tokio::test]
async fn document_contains_name_of_session_cookie() {
    let server = TestServer::shared().await;
    let renamed = server
        .replica_with(&[STAGING, ("LATCHKEY_COOKIE_DOMAIN", "example.com")])
        .await;
    for (server, name) in [
        (&server, "__Host-latchkey"),
        (&renamed, "__Secure-latchkey_staging"),
    ] {
        let document = server.get("/openapi.json").await;
        let scheme = &document.is(200, "").body["components"]["securitySchemes"]["sessionCookie"];
        assert_eq!(scheme["name"], json!(name));
    }
}
