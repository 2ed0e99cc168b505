//! Tests of the protection against cross-site request forgery (CSRF).

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{
    NAME, SetCookie, cookie_request, get_with_cookie, open, start_signed_in, start_signed_in_with,
    verify_cookie,
};
use crate::{
    contract::{json_body, operations},
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::query_value,
};

const SERVER_ORIGIN: &str = "https://auth.example.com";
const APP_ORIGIN: &str = "https://app.example.com";

/// The headers of a request, and whether the server accepts a request with them.
type Case<'a> = (&'a [(&'a str, &'a str)], bool);

const CASES: &[Case] = &[
    (&[], false),
    (&[("origin", SERVER_ORIGIN)], false),
    (
        &[("sec-fetch-site", "same-origin"), ("origin", SERVER_ORIGIN)],
        false,
    ),
    (&[("x-latchkey-request", "")], false),
    (&[("x-latchkey-request", "0")], false),
    (
        &[
            ("x-latchkey-request", "true"),
            ("sec-fetch-site", "same-origin"),
        ],
        false,
    ),
    (
        &[("x-latchkey-request", "1"), ("x-latchkey-request", "1")],
        false,
    ),
    (&[("x-latchkey-request", "1")], true),
    (
        &[("x-latchkey-request", "1"), ("origin", SERVER_ORIGIN)],
        true,
    ),
    (&[("x-latchkey-request", "1"), ("origin", APP_ORIGIN)], true),
    (
        &[
            ("x-latchkey-request", "1"),
            ("origin", "https://evil.example"),
        ],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("origin", "http://auth.example.com"),
        ],
        false,
    ),
    (&[("x-latchkey-request", "1"), ("origin", "null")], false),
    (
        &[
            ("x-latchkey-request", "1"),
            ("origin", SERVER_ORIGIN),
            ("origin", "https://evil.example"),
        ],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-origin"),
        ],
        true,
    ),
    (
        &[("x-latchkey-request", "1"), ("sec-fetch-site", "none")],
        true,
    ),
    (
        &[("x-latchkey-request", "1"), ("sec-fetch-site", "same-site")],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://blog.example.com"),
        ],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-site"),
            ("origin", APP_ORIGIN),
        ],
        true,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "cross-site"),
        ],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "cross-site"),
            ("origin", APP_ORIGIN),
        ],
        true,
    ),
    (
        &[("x-latchkey-request", "1"), ("sec-fetch-site", "nonsense")],
        false,
    ),
    (
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ],
        false,
    ),
];

async fn send(
    server: &TestServer,
    case: Case<'_>,
    method: Method,
    path: &str,
    cookie: &str,
    body: Value,
) -> TestResponse {
    let request = case.0.iter().fold(
        cookie_request(server, method, path, cookie),
        |request, (name, value)| request.header(*name, *value),
    );
    server
        .send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
        .await
}

#[tokio::test]
async fn csrf_header_and_origin_are_required_for_writes() {
    let (server, cookie) = start_signed_in_with(&[("LATCHKEY_CORS_ORIGINS", APP_ORIGIN)]).await;
    for (number, case) in CASES.iter().enumerate() {
        let name = format!("Name {number}");
        let response = send(
            &server,
            *case,
            Method::PATCH,
            "/user",
            &cookie,
            json!({"name": name}),
        )
        .await;
        let code = if case.1 { "" } else { "csrf" };
        assert_eq!(
            (response.status, response.code().as_str()),
            (if case.1 { 200 } else { 403 }, code),
            "{:?}",
            case.0
        );
        assert_eq!(
            query_value(&server, "select coalesce(name, '') from users").await == name,
            case.1,
            "{:?}",
            case.0
        );
        assert_eq!(
            SetCookie::from_response(&response),
            None,
            "no error changes the cookie"
        );
        // Reads are accepted from every origin, because CORS prevents other origins from reading
        // the response.
        send(&server, *case, Method::GET, "/user", &cookie, Value::Null)
            .await
            .is(200, "");
        send(
            &server,
            *case,
            Method::HEAD,
            "/auth/verify",
            &cookie,
            Value::Null,
        )
        .await
        .is(204, "");
    }
}

/// Another site must not be able to sign a browser in as another user, or to sign it out.
#[tokio::test]
async fn csrf_check_covers_sign_up_sign_in_and_sign_out() {
    let (server, _) = start_signed_in_with(&[("LATCHKEY_CORS_ORIGINS", APP_ORIGIN)]).await;
    let login = json!({"username": "john", "password": PASSWORD});
    for (number, case) in CASES.iter().enumerate() {
        let sessions = query_value(&server, "select count(*) from sessions").await;
        let request = case.0.iter().fold(
            server.request(Method::POST, "/session"),
            |request, (name, value)| request.header(*name, *value),
        );
        let response = server.send(request.json(&login)).await;
        assert_eq!(
            (
                response.status,
                SetCookie::from_response(&response).is_some()
            ),
            (if case.1 { 200 } else { 403 }, case.1),
            "{:?}",
            case.0
        );
        assert_eq!(
            query_value(&server, "select count(*) from sessions").await == sessions,
            !case.1
        );

        let new_user = json!({"username": format!("user{number}"), "password": PASSWORD});
        let has_csrf_header = case.0.iter().any(|(name, _)| *name == "x-latchkey-request");
        let request = case.0.iter().fold(
            server.request(Method::POST, "/signup"),
            |request, (name, value)| request.header(*name, *value),
        );
        let response = server.send(request.json(&new_user)).await;
        assert_eq!(
            response.status,
            if case.1 || !has_csrf_header { 201 } else { 403 },
            "{:?}",
            case.0
        );
        assert_eq!(
            (
                SetCookie::from_response(&response).is_some(),
                response.body["access_token"].is_string()
            ),
            (case.1, !has_csrf_header),
            "{:?}",
            case.0
        );

        let cookie = open(&server, "john").await;
        let response = send(
            &server,
            *case,
            Method::DELETE,
            "/session",
            &cookie,
            Value::Null,
        )
        .await;
        assert_eq!(
            (
                response.status,
                SetCookie::from_response(&response).is_some()
            ),
            (if case.1 { 204 } else { 403 }, case.1),
            "{:?}",
            case.0
        );
        assert_eq!(
            verify_cookie(&server, &cookie).await.0 == 204,
            !case.1,
            "{:?}",
            case.0
        );
    }
}

/// The OpenAPI document lists the operations, so that the test covers new ones automatically.
#[tokio::test]
async fn csrf_check_covers_every_documented_write() {
    let (server, cookie) = start_signed_in().await;
    let request = super::page_request(&server, Method::POST, "/items", &cookie)
        .json(&json!({"name": "Book"}));
    let item = server.send(request).await.is(201, "").text("id");
    let fingerprint = "select string_agg(t, ';') from (select u::text as t from users u \
        union all select i::text from items i \
        union all select s::text from sessions s order by 1) whole";
    let before = query_value(&server, fingerprint).await;
    let cases: [&[(&str, &str)]; 2] = [
        &[],
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "cross-site"),
            ("origin", APP_ORIGIN),
        ],
    ];
    let mut protected = 0;
    for (method, path, operation) in operations(&item) {
        let schemes = operation["security"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if method == Method::GET || !schemes.contains(&json!({"sessionCookie": []})) {
            continue;
        }
        for headers in cases {
            let body = json_body(operation).map_or(Value::Null, |schema| schema["example"].clone());
            let response = send(
                &server,
                (headers, false),
                method.clone(),
                &path,
                &cookie,
                body,
            )
            .await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (403, "csrf"),
                "{method} {path}"
            );
        }
        protected += 1;
    }
    assert!(protected >= 9, "protected operations: {protected}");
    assert_eq!(query_value(&server, fingerprint).await, before);
    get_with_cookie(&server, "/session", &cookie)
        .await
        .is(200, "");
}

/// A form of another site can't set custom headers and can use only three media types.
#[tokio::test]
async fn cross_site_form_is_rejected() {
    let (server, cookie) = start_signed_in().await;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        for (path, body) in [
            ("/logout", ""),
            ("/logout?scope=all", ""),
            ("/items", "{\"name\":\"x\"}"),
            ("/session", "{}"),
        ] {
            let request = server
                .request(Method::POST, path)
                .header(header::COOKIE, format!("{NAME}={cookie}"));
            let request = request
                .header(header::CONTENT_TYPE, media_type)
                .header("sec-fetch-site", "cross-site");
            server
                .send(request.header("origin", "https://evil.example").body(body))
                .await
                .is(403, "csrf");
        }
    }
    assert_eq!(verify_cookie(&server, &cookie).await.0, 204);
    assert_eq!(
        query_value(&server, "select count(*) from items").await,
        "0"
    );
}

#[tokio::test]
async fn cors_allows_credentials_only_with_cookie_domain() {
    let domain = [
        ("LATCHKEY_CORS_ORIGINS", APP_ORIGIN),
        ("LATCHKEY_COOKIE_DOMAIN", "example.com"),
    ];
    for (settings, credentials) in [(&domain[..1], ""), (&domain[..], "true")] {
        let server = TestServer::with(settings).await;
        for (method, origin, allowed) in [
            (Method::OPTIONS, APP_ORIGIN, credentials),
            (Method::GET, APP_ORIGIN, credentials),
            (Method::GET, "https://evil.example", ""),
        ] {
            let request = server.request(method, "/user").header("origin", origin);
            let response = server
                .send(request.header("access-control-request-method", "PATCH"))
                .await;
            assert_eq!(
                response.header("access-control-allow-credentials"),
                allowed,
                "{origin}"
            );
            if response.status == 204 {
                assert!(
                    response
                        .header("access-control-allow-headers")
                        .contains("x-latchkey-request")
                );
            }
        }
    }
}
