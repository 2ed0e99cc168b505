//! Requests that another site may have caused.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{NAME, SetCookie, bare, get, john, john_with, open, verify};
use crate::{
    contract::{json_body, operations},
    test_server::{PASSWORD, TestResponse, TestServer},
    test_stores::ask,
};

const OWN: &str = "https://auth.example.com";
const APP: &str = "https://app.example.com";

/// Fields of a request, and whether it passes with them.
type Case<'a> = (&'a [(&'a str, &'a str)], bool);

const CASES: &[Case] = &[
    (&[], false),
    (&[("origin", OWN)], false),
    (&[("sec-fetch-site", "same-origin"), ("origin", OWN)], false),
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
    (&[("x-latchkey-request", "1"), ("origin", OWN)], true),
    (&[("x-latchkey-request", "1"), ("origin", APP)], true),
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
            ("origin", OWN),
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
            ("origin", APP),
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
            ("origin", APP),
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
        bare(server, method, path, cookie),
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
async fn header_and_origin_must_fit_for_what_changes_something() {
    let (server, cookie) = john_with(&[("LATCHKEY_CORS_ORIGINS", APP)]).await;
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
            ask(&server, "select coalesce(name, '') from users").await == name,
            case.1,
            "{:?}",
            case.0
        );
        assert_eq!(
            SetCookie::of(&response),
            None,
            "no failure touches the cookie"
        );
        // What changes nothing may come from everywhere: the answer is for the page's eyes only if
        // CORS says so.
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

/// Somebody else's page must not sign a browser in as somebody else, nor out.
#[tokio::test]
async fn signing_in_up_and_out_are_guarded_too() {
    let (server, _) = john_with(&[("LATCHKEY_CORS_ORIGINS", APP)]).await;
    let login = json!({"username": "john", "password": PASSWORD});
    for (number, case) in CASES.iter().enumerate() {
        let sessions = ask(&server, "select count(*) from sessions").await;
        let fields = case.0.iter().fold(
            server.request(Method::POST, "/session"),
            |request, (name, value)| request.header(*name, *value),
        );
        let response = server.send(fields.json(&login)).await;
        assert_eq!(
            (response.status, SetCookie::of(&response).is_some()),
            (if case.1 { 200 } else { 403 }, case.1),
            "{:?}",
            case.0
        );
        assert_eq!(
            ask(&server, "select count(*) from sessions").await == sessions,
            !case.1
        );

        let up = json!({"username": format!("user{number}"), "password": PASSWORD});
        let requested = case.0.iter().any(|(name, _)| *name == "x-latchkey-request");
        let fields = case.0.iter().fold(
            server.request(Method::POST, "/signup"),
            |request, (name, value)| request.header(*name, *value),
        );
        let response = server.send(fields.json(&up)).await;
        assert_eq!(
            response.status,
            if case.1 || !requested { 201 } else { 403 },
            "{:?}",
            case.0
        );
        assert_eq!(
            (
                SetCookie::of(&response).is_some(),
                response.body["access_token"].is_string()
            ),
            (case.1, !requested),
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
            (response.status, SetCookie::of(&response).is_some()),
            (if case.1 { 204 } else { 403 }, case.1),
            "{:?}",
            case.0
        );
        assert_eq!(
            verify(&server, &cookie).await.0 == 204,
            !case.1,
            "{:?}",
            case.0
        );
    }
}

/// From the document, so that none is forgotten.
#[tokio::test]
async fn every_operation_that_changes_something_is_guarded() {
    let (server, cookie) = john().await;
    let request =
        super::page(&server, Method::POST, "/items", &cookie).json(&json!({"name": "Book"}));
    let item = server.send(request).await.is(201, "").text("id");
    let fingerprint = "select string_agg(t, ';') from (select u::text as t from users u \
        union all select i::text from items i \
        union all select s::text from sessions s order by 1) whole";
    let before = ask(&server, fingerprint).await;
    let cases: [&[(&str, &str)]; 2] = [
        &[],
        &[
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "cross-site"),
            ("origin", APP),
        ],
    ];
    let mut guarded = 0;
    for (method, path, operation) in operations(&item) {
        let ways = operation["security"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if method == Method::GET || !ways.contains(&json!({"sessionCookie": []})) {
            continue;
        }
        for fields in cases {
            let body = json_body(operation).map_or(Value::Null, |schema| schema["example"].clone());
            let response = send(
                &server,
                (fields, false),
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
        guarded += 1;
    }
    assert!(
        guarded >= 9,
        "the document lists what is guarded: {guarded}"
    );
    assert_eq!(ask(&server, fingerprint).await, before);
    get(&server, "/session", &cookie).await.is(200, "");
}

/// What a form of another site can send at most: no header of ours, and one of three media types.
#[tokio::test]
async fn what_a_form_can_send_fails() {
    let (server, cookie) = john().await;
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
    assert_eq!(verify(&server, &cookie).await.0, 204);
    assert_eq!(ask(&server, "select count(*) from items").await, "0");
}

#[tokio::test]
async fn programs_of_other_origins_may_bring_the_cookie_only_where_its_domain_is_set() {
    let domain = [
        ("LATCHKEY_CORS_ORIGINS", APP),
        ("LATCHKEY_COOKIE_DOMAIN", "example.com"),
    ];
    for (settings, credentials) in [(&domain[..1], ""), (&domain[..], "true")] {
        let server = TestServer::with(settings).await;
        for (method, origin, allowed) in [
            (Method::OPTIONS, APP, credentials),
            (Method::GET, APP, credentials),
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
