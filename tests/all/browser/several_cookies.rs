//! Requests with several session cookies. A sibling host of a cookie domain can plant cookies, but
//! it can't sign them.

use reqwest::{Method, RequestBuilder, header};
use serde_json::json;

use super::{
    NAME, SetCookie, aged, get_with_cookie, open, replace_claim, send_page_request,
    start_signed_in, verify_cookie,
};
use crate::{
    test_server::{ISSUER, TestResponse, TestServer},
    user_pages::Browser,
};

const EMPTY_FORM: &[(&str, &str)] = &[];

fn join(values: &[&str]) -> String {
    let cookies = values.iter().map(|value| format!("{NAME}={value}"));
    cookies.collect::<Vec<_>>().join("; ")
}

/// A request as a script of the server's own origin sends it, with session cookies.
fn request_with(
    server: &TestServer,
    method: Method,
    path: &str,
    values: &[&str],
) -> RequestBuilder {
    server
        .request(method, path)
        .header(header::COOKIE, join(values))
        .header("x-latchkey-request", "1")
        .header("x-forwarded-method", "GET")
}

async fn get(server: &TestServer, path: &str, values: &[&str]) -> TestResponse {
    server
        .send(request_with(server, Method::GET, path, values))
        .await
}

/// Cookies that this server didn't sign: no token, an altered token, and a token of another server.
async fn forged_cookies(cookie: &str) -> [String; 3] {
    let (_other_server, of_other_server) = start_signed_in().await;
    let (message, signature) = cookie.rsplit_once('.').expect("a token");
    let swapped = signature.chars().rev().collect::<String>();
    ["x".into(), format!("{message}.{swapped}"), of_other_server]
}

/// Every order of the cookie among the forged ones.
fn orders<'a>(cookie: &'a str, forged: &'a [String; 3]) -> Vec<Vec<&'a str>> {
    let order = |index| {
        let mut values: Vec<_> = forged.iter().map(String::as_str).collect();
        values.insert(index, cookie);
        values
    };
    (0..=forged.len()).map(order).collect()
}

#[tokio::test]
async fn forged_cookies_do_not_lock_user_out() {
    let (server, cookie) = start_signed_in().await;
    let forged = forged_cookies(&cookie).await;
    for values in orders(&cookie, &forged) {
        for path in ["/session", "/user"] {
            get(&server, path, &values).await.is(200, "");
        }
        get(&server, "/auth/verify", &values).await.is(204, "");
        let request = request_with(&server, Method::POST, "/items", &values);
        let item = server.send(request.json(&json!({"name": "Book"}))).await;
        item.is(201, "");
        let without_header = server
            .request(Method::POST, "/items")
            .header(header::COOKIE, join(&values))
            .json(&json!({"name": "Book"}));
        server.send(without_header).await.is(403, "csrf");

        let due = aged(&server, &cookie, 200).await;
        let renewed = get(&server, "/user", &[&forged[0], &due, &forged[1]]).await;
        assert!(SetCookie::from_response(renewed.is(200, "")).is_some());

        let mut browser = Browser::new(&server);
        let request = browser.request(Method::GET, "/account");
        let request = request.header(header::COOKIE, join(&values));
        browser.send(request).await.is(200, &["john"]);
    }
    // An access token that isn't a cookie is no session cookie of this server.
    let session = server.sign_in("john").await;
    get(&server, "/user", &[&session.access_token, &cookie])
        .await
        .is(200, "");
}

#[tokio::test]
async fn forged_cookies_alone_are_one_invalid_cookie() {
    let (server, cookie) = start_signed_in().await;
    let forged = forged_cookies(&cookie).await;
    let values = forged.each_ref().map(String::as_str);
    get(&server, "/user", &values)
        .await
        .is(401, "invalid_token");
    get(&server, "/session", &values)
        .await
        .is(401, "unauthenticated");
    get(&server, "/auth/verify", &values)
        .await
        .is(401, "invalid_token");
}

/// Expired cookies count, so that a planted one doesn't replace the user's when that one expires.
#[tokio::test]
async fn two_signed_cookies_are_rejected() {
    let (server, cookie) = start_signed_in().await;
    server.sign_up("jane").await;
    let planted = open(&server, "jane").await;
    let revoked = open(&server, "jane").await;
    send_page_request(&server, Method::DELETE, "/session", &revoked)
        .await
        .is(204, "");
    let expired = aged(&server, &planted, 600).await;
    let other_audience = replace_claim(&server, &planted, "aud", json!("https://b.example")).await;
    for other in [&planted, &cookie, &revoked, &expired, &other_audience] {
        for values in [vec![cookie.as_str(), other], vec![other, "x", &cookie]] {
            for path in ["/session", "/user", "/auth/verify"] {
                let response = get(&server, path, &values).await;
                let response = response.is(400, "invalid_request");
                assert_eq!(SetCookie::from_response(response), None);
                assert!(response.text("detail").contains("two session cookies"));
            }
        }
    }
    let other_issuer = replace_claim(&server, &planted, "iss", json!("https://b.example")).await;
    get(&server, "/user", &[&other_issuer, &cookie])
        .await
        .is(200, "");
}

#[tokio::test]
async fn more_than_four_cookies_are_rejected() {
    let (server, cookie) = start_signed_in().await;
    let values = ["x", "x", &cookie, "x", "x"];
    for path in ["/session", "/user", "/auth/verify"] {
        let response = get(&server, path, &values).await;
        let detail = response.is(400, "invalid_request").text("detail");
        assert!(detail.contains("more than four"), "{detail}");
    }
    for (method, path) in [(Method::DELETE, "/session"), (Method::POST, "/logout")] {
        let response = server
            .send(request_with(&server, method, path, &values))
            .await;
        let response = response.is(400, "invalid_request");
        assert_eq!(SetCookie::from_response(response), None, "{path}");
    }
    assert_eq!(
        verify_cookie(&server, &cookie).await.0,
        204,
        "the rejected sign-out revoked nothing"
    );
    let mut browser = Browser::new(&server);
    let account = browser
        .request(Method::GET, "/account")
        .header(header::COOKIE, join(&values));
    let page = browser.send(account).await;
    assert_eq!(page.status, 303);
    assert!(
        page.location().starts_with("/sign-in?"),
        "{}",
        page.location()
    );
    // A bearer token takes precedence, so the cookies don't matter.
    let session = server.sign_in("john").await;
    let request = request_with(&server, Method::GET, "/user", &values);
    server
        .send(request.bearer_auth(&session.access_token))
        .await
        .is(200, "");
}

#[tokio::test]
async fn sign_out_revokes_session_among_forged_cookies() {
    let (server, _) = start_signed_in().await;
    for (method, path) in [(Method::DELETE, "/session"), (Method::POST, "/logout")] {
        let cookie = open(&server, "john").await;
        let forged = forged_cookies(&cookie).await;
        let values = [&forged[0], &forged[1], &cookie, &forged[2]].map(String::as_str);
        let response = server
            .send(request_with(&server, method, path, &values))
            .await;
        let removal = SetCookie::from_response(response.is(204, "")).expect("a removed cookie");
        assert!(removal.is_removal() && removal.name == NAME);
        get_with_cookie(&server, "/user", &cookie)
            .await
            .is(401, "token_revoked");
    }
    let cookie = open(&server, "john").await;
    let sign_out = async |values: &[&str]| {
        let mut browser = Browser::new(&server);
        let request = browser
            .request(Method::POST, "/sign-out")
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, ISSUER)
            .header(header::COOKIE, join(values));
        browser.send(request.form(EMPTY_FORM)).await
    };
    let page = sign_out(&["x", "x", &cookie, "x", "x"]).await;
    page.is(400, &["Delete the cookies of this site"]);
    assert_eq!(verify_cookie(&server, &cookie).await.0, 204);
    let page = sign_out(&["x", &cookie, "y", "z"]).await;
    page.is(200, &["You&#39;ve been signed out."]);
    get_with_cookie(&server, "/user", &cookie)
        .await
        .is(401, "token_revoked");
}
