//! What passes by cookie: what changes nothing, as a trusted proxy says; and what a page of the
//! upstream itself sent.

use reqwest::{Method, header};

use super::{identity, is_refused};
use crate::{
    browser::{NAME, aged, open},
    test_server::{TestResponse, TestServer},
};

const HOST: &[(&str, &str)] = &[
    ("x-forwarded-host", "app.example.com"),
    ("x-forwarded-proto", "https"),
];

/// Fields of a proxy's question, and whether it passes with a good cookie.
type Case<'a> = (&'a [(&'a str, &'a str)], bool);

/// Asked with a GET.
const METHODS: &[Case] = &[
    (&[], false),
    (&[("x-forwarded-method", "GET")], true),
    (&[("x-forwarded-method", "HEAD")], true),
    (&[("x-forwarded-method", "OPTIONS")], true),
    (&[("x-original-method", "GET")], true),
    (
        &[("x-forwarded-method", "GET"), ("x-original-method", "GET")],
        true,
    ),
    (
        &[("x-forwarded-method", "GET"), ("x-original-method", "POST")],
        false,
    ),
    (
        &[("x-forwarded-method", "POST"), ("x-original-method", "GET")],
        false,
    ),
    (
        &[("x-forwarded-method", "GET"), ("x-forwarded-method", "GET")],
        false,
    ),
    (
        &[
            ("x-forwarded-method", "GET"),
            ("x-forwarded-method", "POST"),
        ],
        false,
    ),
    (&[("x-forwarded-method", "GET, POST")], false),
    (&[("x-forwarded-method", "POST")], false),
    (&[("x-forwarded-method", "TRACE")], false),
    (&[("x-forwarded-method", "PROPFIND")], false),
    (&[("x-forwarded-method", "get")], false),
    (&[("x-forwarded-method", "")], false),
    (&[("x-http-method-override", "GET")], false),
    // A page may open a socket with the cookie of anybody who looks at it.
    (
        &[("x-forwarded-method", "GET"), ("upgrade", "websocket")],
        false,
    ),
    (
        &[
            ("x-forwarded-method", "GET"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-method", "GET"),
            ("sec-websocket-version", "13"),
        ],
        false,
    ),
    // For a POST nothing but the origin counts.
    (
        &[
            ("x-forwarded-method", "POST"),
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-origin"),
        ],
        false,
    ),
];

/// Origins of what is unsafe, for an upstream at https://app.example.com.
const ORIGINS: &[(&[&str], bool)] = &[
    (&["https://app.example.com"], true),
    (&["https://APP.example.com:443"], true),
    (&[], false),
    (&["null"], false),
    (&["http://app.example.com"], false),
    (&["https://app.example.com:8443"], false),
    (&["https://app.example.com.evil.example"], false),
    (&["https://evil.example"], false),
    (&["https://auth.example.com"], false),
    (&["https://app.example.com/"], false),
    (
        &["https://app.example.com", "https://app.example.com"],
        false,
    ),
    (&["https://app.example.com", "https://evil.example"], false),
];

/// What a proxy may say of scheme and host, with the origin https://app.example.com.
const HOSTS: &[Case] = &[
    (HOST, true),
    (
        &[
            ("x-forwarded-host", "APP.example.com:443"),
            ("x-forwarded-proto", "HTTPS"),
        ],
        true,
    ),
    (&[("x-forwarded-host", "app.example.com")], false),
    (&[("x-forwarded-proto", "https")], false),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "http"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "https, http"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "https"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "other.example.com"),
            ("x-forwarded-proto", "https"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "evil.example, app.example.com"),
            ("x-forwarded-proto", "https"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
        ],
        false,
    ),
    (
        &[("host", "app.example.com"), ("x-forwarded-proto", "https")],
        false,
    ),
    (&[("forwarded", "host=app.example.com;proto=https")], false),
];

async fn ask(
    server: &TestServer,
    method: Method,
    cookie: &str,
    fields: &[(&str, &str)],
) -> TestResponse {
    let request = server
        .request(method, "/auth/verify")
        .header(header::COOKIE, format!("{NAME}={cookie}"));
    server
        .send(fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        }))
        .await
}

#[track_caller]
fn check(response: &TestResponse, passes: bool, what: &[(&str, &str)]) {
    if passes {
        assert_eq!(response.status, 204, "{what:?} {}", response.string());
        assert_eq!(identity(response)[1], "john");
    } else {
        assert_eq!(
            (response.status, response.code().as_str()),
            (403, "csrf"),
            "{what:?}"
        );
        is_refused(response, 403, "csrf");
    }
}

async fn john(server: &TestServer) -> String {
    server.sign_up("john").await;
    open(server, "john").await
}

#[tokio::test]
async fn what_is_known_to_change_nothing_passes() {
    let server = TestServer::shared().await;
    let cookie = john(&server).await;
    for (fields, passes) in METHODS {
        check(
            &ask(&server, Method::GET, &cookie, fields).await,
            *passes,
            fields,
        );
    }
    // With whatever method it asks: none makes an unsafe one safe.
    let safe = [("x-forwarded-method", "GET")];
    for (method, passes) in [
        ("HEAD", true),
        ("OPTIONS", true),
        ("POST", false),
        ("DELETE", false),
        ("PROPFIND", false),
    ] {
        let response = ask(&server, method.parse().expect("a method"), &cookie, &safe).await;
        assert_eq!(response.status, if passes { 204 } else { 403 }, "{method}");
    }
}

#[tokio::test]
async fn everything_else_wants_the_origin_of_the_upstream() {
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", "https://evil.example")]).await;
    let cookie = john(&server).await;
    for unsafe_fields in [
        &[("x-forwarded-method", "POST")][..],
        &[],
        &[("x-forwarded-method", "GET"), ("upgrade", "websocket")],
    ] {
        for (origins, passes) in ORIGINS {
            let origins: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let fields = [unsafe_fields, HOST, &origins].concat();
            check(
                &ask(&server, Method::GET, &cookie, &fields).await,
                *passes,
                &fields,
            );
        }
        for (hosts, passes) in HOSTS {
            let fields = [
                unsafe_fields,
                hosts,
                &[("origin", "https://app.example.com")],
            ]
            .concat();
            check(
                &ask(&server, Method::GET, &cookie, &fields).await,
                *passes,
                &fields,
            );
        }
    }
    let fields = [HOST, &[("origin", "https://app.example.com")]].concat();
    check(
        &ask(&server, Method::DELETE, &cookie, &fields).await,
        true,
        &fields,
    );
}

/// Otherwise any page could say what it likes.
#[tokio::test]
async fn nobody_is_believed_by_default() {
    let server = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    let elsewhere = server
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "10.0.0.0/8")])
        .await;
    let cookie = john(&server).await;
    let claims = [
        HOST,
        &[
            ("x-forwarded-method", "GET"),
            ("origin", "https://app.example.com"),
        ],
    ]
    .concat();
    for server in [&server, &elsewhere] {
        check(
            &ask(server, Method::GET, &cookie, &claims).await,
            false,
            &claims,
        );
        let named = [&claims[..], &[("x-forwarded-for", "10.0.0.1")]].concat();
        check(
            &ask(server, Method::GET, &cookie, &named).await,
            false,
            &named,
        );
    }
}

/// Programs have no pages: their tokens pass with whatever method.
#[tokio::test]
async fn a_bearer_token_needs_no_word_of_a_proxy() {
    let server = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    let cookie = john(&server).await;
    let session = server.sign_in("john").await;
    let both = server
        .request(Method::POST, "/auth/verify")
        .header(header::COOKIE, format!("{NAME}={cookie}"));
    let response = server.send(both.bearer_auth(&session.access_token)).await;
    assert_eq!(identity(response.is(204, ""))[7], session.claims()["sid"]);
    assert!(!response.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn the_slid_cookie_is_for_who_passes() {
    let server = TestServer::shared().await;
    let cookie = john(&server).await;
    let old = aged(&server, &cookie, 200).await;
    let safe = [("x-forwarded-method", "GET")];
    let requested = |query: &str| {
        let request = server
            .request(Method::GET, &format!("/auth/verify{query}"))
            .header("x-forwarded-method", "GET");
        request.header(header::COOKIE, format!("{NAME}={old}"))
    };
    is_refused(
        &server.send(requested("?role=admin")).await,
        403,
        "forbidden",
    );
    is_refused(
        &server.send(requested("?scope=admin")).await,
        403,
        "insufficient_scope",
    );
    is_refused(
        &server.send(requested("?role=nobody")).await,
        400,
        "invalid_request",
    );
    is_refused(&ask(&server, Method::GET, &old, &[]).await, 403, "csrf");
    for response in [
        ask(&server, Method::GET, &old, &safe).await,
        server.send(requested("/items?role=admin")).await,
    ] {
        assert!(
            response
                .is(204, "")
                .header("set-cookie")
                .starts_with(&format!("{NAME}=ey")),
            "{:?}",
            response.headers
        );
    }
    let with_basic = requested("").header(header::AUTHORIZATION, "Basic am9obg==");
    assert!(
        server
            .send(with_basic)
            .await
            .is(204, "")
            .headers
            .contains_key("set-cookie"),
        "another scheme is ignored"
    );
    assert!(
        !ask(&server, Method::GET, &cookie, &safe)
            .await
            .is(204, "")
            .headers
            .contains_key("set-cookie")
    );
}
