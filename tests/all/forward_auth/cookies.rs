//! Checks of session cookies. A safe method that a trusted proxy reports passes. Other requests
//! require the origin of the application.

use reqwest::{Method, header};

use super::{assert_rejected, identity};
use crate::{
    browser::{NAME, aged, open},
    test_server::{TestResponse, TestServer},
};

const FORWARDED_HOST: &[(&str, &str)] = &[
    ("x-forwarded-host", "app.example.com"),
    ("x-forwarded-proto", "https"),
];

/// Header fields of a check, and whether the check passes with a valid cookie.
type Case<'a> = (&'a [(&'a str, &'a str)], bool);

/// Header fields of checks that are sent with GET.
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
        &[("x-forwarded-method", ""), ("x-original-method", "GET")],
        true,
    ),
    (&[("x-forwarded-method", "GET, POST")], false),
    (&[("x-forwarded-method", "POST")], false),
    (&[("x-forwarded-method", "TRACE")], false),
    (&[("x-forwarded-method", "PROPFIND")], false),
    (&[("x-forwarded-method", "get")], false),
    (&[("x-forwarded-method", "")], false),
    (&[("x-http-method-override", "GET")], false),
    // Any site can open a WebSocket with the cookies of its visitors.
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
    // For a POST, only the origin counts.
    (
        &[
            ("x-forwarded-method", "POST"),
            ("x-latchkey-request", "1"),
            ("sec-fetch-site", "same-origin"),
        ],
        false,
    ),
];

/// Origins of unsafe requests to the application at https://app.example.com.
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

/// Forwarded schemes and hosts, with the origin https://app.example.com.
const HOSTS: &[Case] = &[
    (FORWARDED_HOST, true),
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
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-for", "203.0.113.9, 127.0.0.1"),
        ],
        true,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-for", "127.0.0.1, 203.0.113.9"),
        ],
        false,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "wss"),
        ],
        true,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com."),
            ("x-forwarded-proto", "https"),
        ],
        false,
    ),
    (&[("x-original-url", "https://app.example.com/a?b=c")], true),
    (
        &[("x-original-url", "https://APP.example.com:443//evil")],
        true,
    ),
    (&[("x-original-url", "http://app.example.com/")], false),
    (
        &[("x-original-url", "https://app.example.com@evil.example/")],
        false,
    ),
    (
        &[
            ("x-forwarded-host", ""),
            ("x-forwarded-proto", ""),
            ("x-original-url", "https://app.example.com"),
        ],
        true,
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
        true,
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com, evil.example"),
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

async fn check_with_cookie(
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
fn assert_outcome(response: &TestResponse, passes: bool, context: &[(&str, &str)]) {
    if passes {
        assert_eq!(response.status, 204, "{context:?} {}", response.string());
        assert_eq!(identity(response)[1], "john");
    } else {
        assert_eq!(
            (response.status, response.code().as_str()),
            (403, "csrf"),
            "{context:?}"
        );
        assert_rejected(response, 403, "csrf");
    }
}

async fn sign_up_with_cookie(server: &TestServer) -> String {
    server.sign_up("john").await;
    open(server, "john").await
}

#[tokio::test]
async fn safe_forwarded_method_passes() {
    let server = TestServer::shared().await;
    let cookie = sign_up_with_cookie(&server).await;
    for (fields, passes) in METHODS {
        assert_outcome(
            &check_with_cookie(&server, Method::GET, &cookie, fields).await,
            *passes,
            fields,
        );
    }
    // The method of the check itself must be safe, too.
    let safe = [("x-forwarded-method", "GET")];
    for (method, passes) in [
        ("HEAD", true),
        ("OPTIONS", true),
        ("POST", false),
        ("DELETE", false),
        ("PROPFIND", false),
    ] {
        let response =
            check_with_cookie(&server, method.parse().expect("a method"), &cookie, &safe).await;
        assert_eq!(response.status, if passes { 204 } else { 403 }, "{method}");
    }
}

#[tokio::test]
async fn unsafe_request_requires_application_origin() {
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", "https://evil.example")]).await;
    let cookie = sign_up_with_cookie(&server).await;
    for unsafe_fields in [
        &[("x-forwarded-method", "POST")][..],
        &[],
        &[("x-forwarded-method", "GET"), ("upgrade", "websocket")],
    ] {
        for (origins, passes) in ORIGINS {
            let origins: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let fields = [unsafe_fields, FORWARDED_HOST, &origins].concat();
            assert_outcome(
                &check_with_cookie(&server, Method::GET, &cookie, &fields).await,
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
            assert_outcome(
                &check_with_cookie(&server, Method::GET, &cookie, &fields).await,
                *passes,
                &fields,
            );
        }
    }
    let fields = [FORWARDED_HOST, &[("origin", "https://app.example.com")]].concat();
    assert_outcome(
        &check_with_cookie(&server, Method::DELETE, &cookie, &fields).await,
        true,
        &fields,
    );
}

/// Otherwise, any client could spoof the forwarded headers.
#[tokio::test]
async fn untrusted_forwarded_headers_are_ignored() {
    let server = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    let other_network = server
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "10.0.0.0/8")])
        .await;
    let cookie = sign_up_with_cookie(&server).await;
    let forwarded = [
        FORWARDED_HOST,
        &[
            ("x-forwarded-method", "GET"),
            ("origin", "https://app.example.com"),
        ],
    ]
    .concat();
    for server in [&server, &other_network] {
        assert_outcome(
            &check_with_cookie(server, Method::GET, &cookie, &forwarded).await,
            false,
            &forwarded,
        );
        let with_client_address = [&forwarded[..], &[("x-forwarded-for", "10.0.0.1")]].concat();
        assert_outcome(
            &check_with_cookie(server, Method::GET, &cookie, &with_client_address).await,
            false,
            &with_client_address,
        );
    }
}

#[tokio::test]
async fn csrf_detail_contains_cause() {
    let server = TestServer::start().await;
    let untrusting = server
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "none")])
        .await;
    let cookie = sign_up_with_cookie(&server).await;
    let (get, post) = (
        ("x-forwarded-method", "GET"),
        ("x-forwarded-method", "POST"),
    );
    let (origin, other_origin) = (
        ("origin", "https://app.example.com"),
        ("origin", "https://evil.example"),
    );
    let [host, proto] = [FORWARDED_HOST[0], FORWARDED_HOST[1]];
    for (server, fields, part) in [
        (
            &untrusting,
            &[get, host, proto, origin][..],
            "`LATCHKEY_TRUSTED_PROXIES`",
        ),
        (&untrusting, &[], "`LATCHKEY_TRUSTED_PROXIES`"),
        (&server, &[], "`X-Forwarded-Method`"),
        (&server, &[host, proto], "`X-Forwarded-Method`"),
        (&server, &[post, origin], "`X-Forwarded-Host`"),
        (&server, &[post, host, origin], "`X-Forwarded-Proto`"),
        (&server, &[post, host, proto], "`Origin`"),
        (&server, &[post, host, proto, other_origin], "`Origin`"),
        (
            &server,
            &[get, host, proto, ("upgrade", "websocket")],
            "`Origin`",
        ),
    ] {
        let response = check_with_cookie(server, Method::GET, &cookie, fields).await;
        assert_rejected(&response, 403, "csrf");
        let detail = response.text("detail");
        assert!(detail.contains(part), "{fields:?}: {detail}");
    }
}

/// Browsers don't attach bearer tokens by themselves, so no CSRF check is needed.
#[tokio::test]
async fn bearer_token_requires_no_forwarded_headers() {
    let server = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    let cookie = sign_up_with_cookie(&server).await;
    let session = server.sign_in("john").await;
    let request = server
        .request(Method::POST, "/auth/verify")
        .header(header::COOKIE, format!("{NAME}={cookie}"));
    let response = server
        .send(request.bearer_auth(&session.access_token))
        .await;
    assert_eq!(identity(response.is(204, ""))[8], session.claims()["sid"]);
    assert!(!response.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn cookie_is_renewed_only_if_check_passes() {
    let server = TestServer::shared().await;
    let cookie = sign_up_with_cookie(&server).await;
    let due_cookie = aged(&server, &cookie, 200).await;
    let safe = [("x-forwarded-method", "GET")];
    let check = |query: &str| {
        let request = server
            .request(Method::GET, &format!("/auth/verify{query}"))
            .header("x-forwarded-method", "GET");
        request.header(header::COOKIE, format!("{NAME}={due_cookie}"))
    };
    assert_rejected(&server.send(check("?role=admin")).await, 403, "forbidden");
    assert_rejected(
        &server.send(check("?scope=admin")).await,
        403,
        "insufficient_scope",
    );
    assert_rejected(
        &server.send(check("?role=unknown")).await,
        400,
        "invalid_request",
    );
    assert_rejected(
        &check_with_cookie(&server, Method::GET, &due_cookie, &[]).await,
        403,
        "csrf",
    );
    for response in [
        check_with_cookie(&server, Method::GET, &due_cookie, &safe).await,
        server.send(check("/items?role=admin")).await,
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
    let with_basic = check("").header(header::AUTHORIZATION, "Basic am9obg==");
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
        !check_with_cookie(&server, Method::GET, &cookie, &safe)
            .await
            .is(204, "")
            .headers
            .contains_key("set-cookie")
    );
}
